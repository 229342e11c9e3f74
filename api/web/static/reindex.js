// A reindex: begun, followed through its phases, and what it found: before and after.

import * as api from "./api.js";
import { action, check, field, h, select, titled } from "./dom.js";
import { decimal, number, percent, seconds, size } from "./format.js";
import { badge, progress, subject } from "./jobs.js";
import { go, to } from "./router.js";
import { tried } from "./say.js";
import { STATUSES } from "./states.js";
import { reason, t } from "./text.js";

const METRICS = { r_at_1: "R@1", map_at_r: "MAP@R" };
const PHASES = {
  embeddings: ["listing", "embedding", "indexing", "evaluating", "switching", "done"],
  index: ["evaluating", "indexing", "switching", "done"],
};

export async function reindexing(signal) {
  const [{ items: models }, { items: past }] = await Promise.all([api.models(signal), api.jobs({ type: "reindex", limit: 5 }, signal)]);
  const others = models.filter(({ state }) => !["active", "retired"].includes(state));
  const modes = [["index", t("rebuildIndex")], ["all", t("reembedAll")], ...(others.length ? [["other", t("embedWithAnother")]] : [])];
  const mode = select(modes, others.length ? "other" : "index");
  const version = field(t("model"), select(others.map(({ id, name }) => [id, name]), others[0]?.id));
  const activate = check(t("switchIfNoWorse"), { checked: true });
  const fitting = () => {
    version.hidden = mode.value !== "other";
    activate.hidden = mode.value === "index";
  };
  mode.addEventListener("change", fitting);
  fitting();
  const former = await Promise.all(past.map(line));
  const begin = async () => {
    const asked = {
      index: { mode: "index" },
      all: { activate: activate.querySelector("input").checked },
      other: { model_version: version.querySelector("select").value, activate: activate.querySelector("input").checked },
    }[mode.value];
    const begun = await tried(() => api.reindex(asked), t("reindexBegun"));
    if (begun) go(`job/${begun.job_id}`);
  };
  return titled(
    "reindex",
    t("reindex"),
    h("p", { class: "faint" }, t("goesOnMeanwhile"), !others.length && t("registerAnother")),
    h("div", { class: "bar" }, field(t("what"), mode), version, activate, action(t("begin"), begin, { quiet: true })),
    former.length > 0 && h("ul", { class: "rows" }, former),
  );
}

async function line(job) {
  const about = h("span", { class: "about" }, h("span", { class: "kind" }, subject(job)));
  const link = h("a", { class: "row", href: to(`job/${job.id}`) }, about, badge(job), progress(job), h("span", { class: "faint" }, await summary(job)));
  return h("li", {}, link);
}

async function summary({ reindex, error, error_code: code }) {
  const report = reindex?.report;
  if (error) return reason(code, error);
  if (!report) return "";
  if (report.after && report.switched === false) return t("formerIndexStays");
  if (report.after) return t("recallIs", { share: percent(report.after.recall_at_10 ?? 0, 1) });
  return report.switched ? t("switched") : report.gate?.passed ? t("passedNotSwitched") : t("keptActive");
}

/** The phases of a reindex job and its report, for the job's own view. */
export function reindexProgress({ reindex }) {
  const at = PHASES[reindex.mode].indexOf(reindex.phase);
  return h(
    "div",
    {},
    h(
      "ol",
      { class: "phases", "aria-label": t("phases") },
      PHASES[reindex.mode].map((phase, index) =>
        h("li", { class: index < at || reindex.phase === "done" ? "past" : "", ...(index === at && { "aria-current": "step" }) }, STATUSES[phase] ?? phase),
      ),
    ),
    reindex.eta_seconds !== null && h("p", { class: "faint" }, t("embeddingLeft", { time: seconds(reindex.eta_seconds) })),
    reindex.report && (reindex.mode === "index" ? indexReport(reindex.report) : modelReport(reindex.report)),
  );
}

function table(name, columns, rows) {
  return h(
    "table",
    { class: "report" },
    h("caption", {}, name),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
    h("tbody", {}, rows.map(([head, ...cells]) => h("tr", {}, h("th", { scope: "row" }, head), cells.map((cell) => h("td", { class: "number" }, cell ?? "–"))))),
  );
}

function indexReport({ before = {}, after = {}, gate = { passed: true, reasons: [] } }) {
  const row = (text, key, shown) => [text, ...[before, after].map((side) => (side[key] === undefined ? null : shown(side[key])))];
  const found = table(t("beforeAndAfter"), ["", t("before"), t("after")], [
    row(t("recallAt10"), "recall_at_10", (value) => percent(value, 1)),
    row(t("medianSearch"), "ms", (value) => `${decimal(value, 1)} ms`),
    row(t("size"), "bytes", size),
    row(t("kind"), "kind", String),
    row("m", "m", number),
    row("ef_construction", "ef_construction", number),
  ]);
  return h("div", {}, found, !gate.passed && h("p", {}, `${t("formerIndexStays")} ${gate.reasons.join(" ")}`));
}

function modelReport({ active, candidate, judged, findings = [], gate, switched, missing, recall_at_10: recall, overlap_at_10: overlap }) {
  const rows = Object.entries(judged?.metrics ?? {}).map(([name, one]) => [
    METRICS[name] ?? name,
    percent(one.active, 1),
    percent(one.candidate, 1),
    t("fromTo", { low: signed(one.low), high: signed(one.high) }),
  ]);
  const found = [
    ...findings,
    judged && t("judgedOnLabelled", { count: judged.queries, labels: judged.classes }),
    recall !== null && t("indexFinds", { share: percent(recall, 1) }),
    overlap !== null && t("sameWithBoth", { share: percent(overlap) }),
    missing ? t("notEmbedded", { count: missing }) : t("noneMissing"),
  ];
  return h(
    "div",
    {},
    rows.length > 0 && table(t("onLabelled"), ["", active, candidate, t("difference")], rows),
    h("p", {}, found.filter(Boolean).join(" ")),
    h(
      "p",
      {},
      gate.passed ? t("passedGate") : `${t("didNotPass", { reasons: gate.reasons.join(" ") })} `,
      switched ? t("searchesUseNow", { name: candidate }) : t("searchesUseStill", { name: active }),
    ),
  );
}

const signed = (value) => `${value < 0 ? "−" : "+"}${percent(Math.abs(value), 1)}`;
