// One job, live: its counts, its phases, what failed and why, and what can be done about it.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { ago, number, seconds, when } from "./format.js";
import { badge, circumstances, described, progress, subject } from "./jobs.js";
import { follow, pollFor } from "./live.js";
import { reindexProgress } from "./reindex.js";
import { to } from "./router.js";
import { tried } from "./say.js";
import { STATUSES } from "./states.js";
import { reason, t } from "./text.js";

export const title = t("job");
const FAILURES = 200;
const LOOK_MS = 800;

export async function show({ main, heading, id, signal }) {
  const head = h("div", { class: "job" });
  const lead = h("p", { role: "status", class: "lead" });
  const failures = h("section", { "aria-label": t("failures") });
  main.append(lead, head, failures);
  let before = "";
  let failed = -1;
  const look = async () => {
    const job = await api.job(id, signal);
    if (signal.aborted) return;
    heading.textContent = subject(job);
    const now = JSON.stringify(job);
    if (now !== before) {
      const [said, from] = await Promise.all([sentence(job), source(job.source)]);
      if (lead.textContent !== said) lead.textContent = said;
      redraw(head, job, from);
    }
    if (job.counts.failed !== failed) await listFailures(failures, job, signal);
    failed = job.counts.failed;
    before = now;
    return pollFor([job]);
  };
  await look();
  return () => follow(look, LOOK_MS, signal, id);
}

async function sentence(job) {
  const { phase, status, counts, error, error_code: code } = job;
  if (error) return reason(code, error);
  return `${circumstances(job)}, ${STATUSES[phase ?? status] ?? phase ?? status}${counts.total ? `: ${described(counts)}` : ""}.`;
}

function redraw(head, job, from) {
  const focused = head.contains(document.activeElement) ? document.activeElement.textContent : null;
  head.replaceChildren(
    h("div", { class: "track" }, badge(job), progress(job), job.counts.total > 0 && h("span", { class: "number" }, t("pictures", { count: job.counts.total }))),
    steps(job),
    from ? h("p", { class: "faint" }, from) : "",
    job.index?.total ? h("p", { class: "faint" }, t("indexAt", { phase: job.index.phase, done: job.index.done, total: job.index.total })) : "",
    job.reindex ? reindexProgress(job) : "",
    h("p", { class: "faint" }, times(job)),
  );
  if (focused) [...head.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

function steps(job) {
  const steer = (text, verb, done, options = {}) => action(text, () => tried(() => api.steer(job.id, verb), done), { quiet: true, ...options });
  const under = !job.finished_at;
  return h(
    "div",
    { class: "actions" },
    under && (job.paused ? steer(t("resume"), "resume", t("itGoesOn")) : steer(t("pause"), "pause", t("itWaits"))),
    under && job.type !== "deletion" && steer(t("cancel"), "cancel", t("cancelledStaysDone"), { symbol: "close" }),
    job.counts.failed > 0 && steer(t("tryFailedAgain"), "retry", t("triedAgain")),
    job.counts.total > 0 && h("a", { class: "button quiet", href: `v1/jobs/${job.id}/items.csv`, download: "" }, t("picturesAsCsv")),
    job.counts.failed > 0 && h("a", { class: "button quiet", href: `v1/jobs/${job.id}/items.csv?status=failed`, download: "" }, t("failuresAsCsv")),
  );
}

async function source(read) {
  if (!read) return "";
  const { type, listed, rejected, skipped, skipped_by_kind: kinds, done, error, tries } = read;
  const most = Object.entries(kinds).sort(([, one], [, other]) => other - one).slice(0, 5).map(([kind, count]) => `${number(count)} ${kind}`).join(", ");
  const parts = [t("sourceIs", { type }), t(done ? "listed" : "listedSoFar", { count: listed }), rejected && t("rejected", { count: rejected }), skipped && t("skipped", { count: skipped, most })];
  if (error) parts.push(`${await reason("source_unreachable", error)} ${tries ? t("triesSoFar", { count: tries }) : ""}`.trim());
  return parts.filter(Boolean).join(", ");
}

function times({ created_at: created, started_at: started, finished_at: finished, attempts }) {
  const parts = [t("begunAt", { ago: ago(created), when: when(created) })];
  if (finished) parts.push(t("took", { time: seconds((new Date(finished).getTime() - new Date(started ?? created).getTime()) / 1000) }));
  if (attempts > 1) parts.push(t("attempt", { count: attempts }));
  return `${parts.join(", ")}.`;
}

async function listFailures(section, job, signal) {
  if (!job.counts.failed) return section.replaceChildren();
  const { items, next_cursor: more } = await api.items(job.id, { status: "failed", limit: FAILURES }, signal);
  return section.replaceChildren(
    h("h2", {}, t("countFailures", { count: job.counts.failed })),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, [t("picture"), t("reason"), t("attempts")].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, await Promise.all(items.map(failure))),
    ),
    more && h("p", { class: "faint" }, t("firstShown", { count: FAILURES })),
  );
}

const failure = async (item) =>
  h(
    "tr",
    {},
    h("td", { class: "name" }, item.image_id ? h("a", { href: to(`image/${item.image_id}`) }, item.name ?? t("aPicture")) : (item.name ?? t("aPicture"))),
    h("td", {}, await reason(item.error_code, item.error), " ", h("code", {}, item.error_code ?? "")),
    h("td", { class: "number" }, item.attempts),
  );
