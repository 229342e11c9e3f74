// One job, live: its counts, its phases, what failed and why, and what can be done about it.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { ago, counted, number, seconds, when } from "./format.js";
import { badge, circumstances, described, progress, subject } from "./jobs.js";
import { follow, pollFor } from "./live.js";
import { reindexProgress } from "./reindex.js";
import { to } from "./router.js";
import { tried } from "./say.js";

export const title = "Job";
const FAILURES = 200;
const LOOK_MS = 800;

export async function show({ main, heading, id, signal }) {
  const head = h("div", { class: "job" });
  const lead = h("p", { role: "status", class: "lead" });
  const failures = h("section", { "aria-label": "Failures" });
  main.append(lead, head, failures);
  let before = "";
  let failed = -1;
  const look = async () => {
    const job = await api.job(id, signal);
    if (signal.aborted) return;
    heading.textContent = subject(job);
    const now = JSON.stringify(job);
    if (now !== before) {
      if (lead.textContent !== sentence(job)) lead.textContent = sentence(job);
      redraw(head, job);
    }
    if (job.counts.failed !== failed) await listFailures(failures, job, signal);
    failed = job.counts.failed;
    before = now;
    return pollFor([job]);
  };
  await look();
  return () => follow(look, LOOK_MS, signal, id);
}

function sentence(job) {
  const { phase, status, counts, error } = job;
  if (error) return error;
  return `${circumstances(job)}, ${phase ?? status}${counts.total ? `: ${described(counts)}` : ""}.`;
}

function redraw(head, job) {
  const focused = head.contains(document.activeElement) ? document.activeElement.textContent : null;
  head.replaceChildren(
    h("div", { class: "track" }, badge(job), progress(job), job.counts.total > 0 && h("span", { class: "number" }, counted(job.counts.total, "picture"))),
    steps(job),
    job.source ? h("p", { class: "faint" }, source(job.source)) : "",
    job.index?.total ? h("p", { class: "faint" }, `Index: ${job.index.phase}, ${number(job.index.done)} of ${number(job.index.total)}.`) : "",
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
    under && (job.paused ? steer("Resume", "resume", "It goes on.") : steer("Pause", "pause", "It waits.")),
    under && job.type !== "deletion" && steer("Cancel", "cancel", "Cancelled: what is done stays done.", { symbol: "close" }),
    job.counts.failed > 0 && steer("Try the failed ones again", "retry", "They are tried again."),
    job.counts.total > 0 && h("a", { class: "button quiet", href: `v1/jobs/${job.id}/items.csv`, download: "" }, "Pictures as CSV"),
    job.counts.failed > 0 && h("a", { class: "button quiet", href: `v1/jobs/${job.id}/items.csv?status=failed`, download: "" }, "Failures as CSV"),
  );
}

function source({ type, listed, rejected, skipped, skipped_by_kind: kinds, done, error, tries }) {
  const most = Object.entries(kinds).sort(([, one], [, other]) => other - one).slice(0, 5).map(([kind, count]) => `${number(count)} ${kind}`).join(", ");
  return [`Source: ${type}`, `${number(listed)} listed${done ? "" : " so far"}`, rejected && `${number(rejected)} rejected`, skipped && `${number(skipped)} other files passed over (${most})`, error && (tries ? `${error} Tries so far: ${tries}` : error)]
    .filter(Boolean)
    .join(", ");
}

function times({ created_at: created, started_at: started, finished_at: finished, attempts }) {
  const parts = [`Begun ${ago(created)} (${when(created)})`];
  if (finished) parts.push(`took ${seconds((new Date(finished).getTime() - new Date(started ?? created).getTime()) / 1000)}`);
  if (attempts > 1) parts.push(`attempt ${attempts}`);
  return `${parts.join(", ")}.`;
}

async function listFailures(section, job, signal) {
  if (!job.counts.failed) return section.replaceChildren();
  const { items, next_cursor: more } = await api.items(job.id, { status: "failed", limit: FAILURES }, signal);
  return section.replaceChildren(
    h("h2", {}, counted(job.counts.failed, "failure")),
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ["Picture", "Reason", "Attempts"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, items.map(failure)),
    ),
    more && h("p", { class: "faint" }, `The first ${number(FAILURES)} are shown; the CSV has all.`),
  );
}

const failure = (item) =>
  h(
    "tr",
    {},
    h("td", { class: "name" }, item.image_id ? h("a", { href: to(`image/${item.image_id}`) }, item.name ?? "picture") : (item.name ?? "picture")),
    h("td", {}, item.error ?? "", " ", h("code", {}, item.error_code ?? "")),
    h("td", { class: "number" }, item.attempts),
  );
