// A reindex: begun, followed through its phases, and what it found: before and after.

import * as api from "./api.js";
import { action, check, field, h, select } from "./dom.js";
import { number, percent, seconds, size } from "./format.js";
import { go, to } from "./router.js";
import { tried } from "./say.js";
import { badge, progress, subject } from "./jobs.js";

const METRICS = { r_at_1: "R@1", map_at_r: "MAP@R" };
const PHASES = {
  embeddings: ["listing", "embedding", "indexing", "evaluating", "switching", "done"],
  index: ["evaluating", "indexing", "switching", "done"],
};

export async function reindexing(signal) {
  const [{ items: models }, { items: past }] = await Promise.all([api.models(signal), api.jobs({ type: "reindex", limit: 5 }, signal)]);
  const others = models.filter(({ state }) => !["active", "retired"].includes(state));
  const modes = [["index", "Build the active index anew"], ["anew", "Embed all pictures anew"], ...(others.length ? [["other", "Embed all pictures with another model"]] : [])];
  const mode = select(modes, others.length ? "other" : "index");
  const version = field("Model", select(others.map(({ id, name }) => [id, name]), others[0]?.id));
  const activate = check("Switch to it if it is no worse", { checked: true });
  const fitting = () => {
    version.hidden = mode.value !== "other";
    activate.hidden = mode.value === "index";
  };
  mode.addEventListener("change", fitting);
  fitting();
  const begin = async () => {
    const asked = {
      index: { mode: "index" },
      anew: { activate: activate.querySelector("input").checked },
      other: { model_version: version.querySelector("select").value, activate: activate.querySelector("input").checked },
    }[mode.value];
    const begun = await tried(() => api.reindex(asked), "The reindex has begun.");
    if (begun) go(`job/${begun.job_id}`);
  };
  return h(
    "section",
    { "aria-labelledby": "reindex-title" },
    h("h2", { id: "reindex-title" }, "Reindex"),
    h("p", { class: "faint" }, "Searches and uploads go on meanwhile. ", !others.length && "To embed with another model, register one: umbel models register FILE."),
    h("div", { class: "bar" }, field("What", mode), version, activate, action("Begin", begin, { quiet: true })),
    past.length > 0 && h("ul", { class: "rows" }, past.map((job) => h("li", {}, h("a", { class: "row", href: to(`job/${job.id}`) }, h("span", { class: "about" }, h("span", { class: "kind" }, subject(job))), badge(job), progress(job), h("span", { class: "faint" }, summary(job)))))),
  );
}

function summary({ reindex, error }) {
  const report = reindex?.report;
  if (error || !report) return error ?? "";
  if (report.after) return `recall ${percent(report.after.recall_at_10 ?? 0, 1)}`;
  return report.switched ? "switched" : report.gate?.passed ? "passed, not switched" : "kept the active one";
}

/** The phases of a reindex job and its report, for the job's own view. */
export function reindexProgress({ reindex }) {
  const at = PHASES[reindex.mode].indexOf(reindex.phase);
  return h(
    "div",
    {},
    h(
      "ol",
      { class: "phases", "aria-label": "Phases" },
      PHASES[reindex.mode].map((phase, index) =>
        h("li", { class: index < at || reindex.phase === "done" ? "past" : "", ...(index === at && { "aria-current": "step" }) }, phase),
      ),
    ),
    reindex.eta_seconds !== null && h("p", { class: "faint" }, `About ${seconds(reindex.eta_seconds)} left of embedding.`),
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

function indexReport({ before = {}, after = {} }) {
  const row = (text, key, shown) => [text, ...[before, after].map((side) => (side[key] === undefined ? null : shown(side[key])))];
  return table("Before and after", ["", "Before", "After"], [
    row("Recall@10", "recall_at_10", (value) => percent(value, 1)),
    row("Median search", "ms", (value) => `${value.toFixed(1)} ms`),
    row("Size", "bytes", size),
    row("m", "m", number),
    row("ef_construction", "ef_construction", number),
  ]);
}

function modelReport({ active, candidate, judged, findings = [], gate, switched, missing, recall_at_10: recall, overlap_at_10: overlap }) {
  const rows = Object.entries(judged?.metrics ?? {}).map(([name, one]) => [
    METRICS[name] ?? name,
    percent(one.active, 1),
    percent(one.candidate, 1),
    `${signed(one.low)} to ${signed(one.high)}`,
  ]);
  const found = [
    ...findings,
    judged && `Judged on ${number(judged.queries)} labelled pictures of ${number(judged.classes)} labels.`,
    recall !== null && `Its index finds ${percent(recall, 1)} of the ten nearest that an exact search finds.`,
    overlap !== null && `${percent(overlap)} of the ten nearest are the same with both.`,
    missing ? `${number(missing)} pictures could not be embedded.` : "No picture is missing.",
  ];
  return h(
    "div",
    {},
    rows.length > 0 && table("On the gallery’s labelled pictures", ["", active, candidate, "Difference, 95 %"], rows),
    h("p", {}, found.filter(Boolean).join(" ")),
    h(
      "p",
      {},
      gate.passed ? "It passed the gate. " : `It did not pass the gate: ${gate.reasons.join(" ")} `,
      switched ? `Searches use ${candidate} now.` : `Searches use ${active} still.`,
    ),
  );
}

const signed = (value) => `${value < 0 ? "−" : "+"}${percent(Math.abs(value), 1)}`;
