// Pieces of work: how far each is, and what became of it.

import * as api from "./api.js";
import { field, h, select } from "./dom.js";
import { empty } from "./empty.js";
import { ago, when } from "./format.js";
import { follow, pollFor } from "./live.js";
import { go, to } from "./router.js";
import { STATUSES } from "./states.js";
import { t } from "./text.js";

export const title = t("jobs");
const LOOK_MS = 1500;
const STATES = ["queued", "running", "succeeded", "partial", "failed", "cancelled"];
export const TYPES = {
  upload: t("upload"),
  import: t("import"),
  repair: t("repair"),
  comparison: t("comparison"),
  reindex: t("reindex"),
  deletion: t("deletion"),
  map: t("map"),
  change: t("change"),
  removal: t("removal"),
  restoration: t("restoration"),
  purge: t("purge"),
  tiling: t("tiling"),
  sync: t("sync"),
};

export async function show({ main, heading, parameters, signal }) {
  const { status = "", type = "" } = parameters;
  const refilter = (changes) => go("jobs", { status, type, ...changes });
  const list = h("ul", { class: "rows" });
  const more = h("p", { class: "load-more" });
  heading.after(
    h(
      "div",
      { class: "bar" },
      field(t("status"), select([["", t("any")], ...STATES.map((each) => [each, STATUSES[each]])], status, { onchange: ({ target }) => refilter({ status: target.value }) })),
      field(t("kind"), select([["", t("any")], ...Object.entries(TYPES)], type, { onchange: ({ target }) => refilter({ type: target.value }) })),
    ),
  );
  main.append(list, more);
  let limit = 30;
  const look = async () => {
    const page = await api.jobs({ status, type, limit }, signal);
    if (signal.aborted) return;
    refill(list, page.items);
    more.replaceChildren(page.next_cursor && limit < 500 ? h("button", { class: "quiet", onclick: () => (limit = Math.min(500, limit * 2)) }, t("showOlder")) : "");
    if (!page.items.length && !main.querySelector(".empty")) {
      main.append(empty("jobs", t("noJobs"), t("noJobsText"), h("a", { class: "button quiet", href: to("add") }, t("addPictures"))));
    }
    return pollFor(page.items);
  };
  await look();
  return () => follow(look, LOOK_MS, signal);
}

/** Rows stay where they are while they change, so that neither focus nor reader loses them. */
function refill(list, jobs) {
  const old = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const rows = jobs.map((job) => {
    const row = old.get(job.id) ?? h("li", { "data-id": job.id });
    const state = JSON.stringify(job);
    if (row.state !== state) {
      const focused = row.contains(document.activeElement);
      row.replaceChildren(line(job));
      if (focused) row.firstChild.focus();
    }
    row.state = state;
    return row;
  });
  if (rows.length !== list.childElementCount || rows.some((row, at) => list.children[at] !== row)) list.replaceChildren(...rows);
}

const SOURCES = { sample: t("theSampleGarden"), zip: t("aZipArchive"), tar: t("aTarArchive"), manifest: t("aListOfPictures"), s3: t("aBucket"), folder: t("aFolder") };
const SUBJECTS = { comparison: t("comparisonFor"), deletion: t("deletion"), map: t("map"), repair: t("repair") };

/** What a job is about, for people. */
export function subject({ type, counts, source, reindex, collection, first_name: first }) {
  if (source) return source.location ?? SOURCES[source.type] ?? source.type;
  if (reindex) return reindex.mode === "index" ? t("indexRebuilt") : t("picturesReembedded");
  if (type === "deletion" && collection) return t("deletionOf", { name: collection });
  if (SUBJECTS[type]) return SUBJECTS[type];
  const folder = first?.split("/").slice(0, -1).join("/");
  if (counts.total === 1 && first) return first;
  if (folder) return t("picturesFrom", { name: folder });
  return first ? t("andOthers", { name: first }) : (TYPES[type] ?? type);
}

/** Its kind, and the collection that it is about. */
export function circumstances({ type, collection }) {
  const kind = TYPES[type] ?? type;
  if (["upload", "import", "sync"].includes(type)) return collection ? t("kindInto", { kind, name: collection }) : kind;
  if (["comparison", "map", "change", "removal", "restoration", "purge", "tiling"].includes(type)) return collection ?? t("allCollections");
  return kind;
}

function line(job) {
  const { total, failed } = job.counts;
  return h(
    "a",
    { class: "row", href: to(`job/${job.id}`) },
    h("span", { class: "about" }, h("span", { class: "kind" }, subject(job)), h("span", { class: "faint" }, circumstances(job))),
    badge(job),
    progress(job),
    h("span", { class: "number" }, total ? t("pictures", { count: total }) : "", failed ? h("span", { class: "bad" }, ` ${t("countFailed", { count: failed })}`) : ""),
    h("time", { class: "faint", dateTime: job.created_at, title: when(job.created_at) }, ago(job.created_at)),
  );
}

export const badge = (job) => h("span", { class: "badge", "data-status": job.status }, STATUSES[job.phase ?? job.status] ?? job.phase ?? job.status);

/** Shares of what became of its pictures, side by side. */
export function progress({ counts, status }) {
  const { total } = counts;
  const bar = h("span", { class: "shares", role: "img", "aria-label": described(counts) });
  for (const part of ["indexed", "duplicate", "failed", "cancelled"]) {
    if (!counts[part]) continue;
    const share = h("span", { class: part });
    share.style.flexGrow = counts[part] / total;
    bar.append(share);
  }
  const rest = h("span", { class: "pending" });
  rest.style.flexGrow = total ? counts.pending / total : ["queued", "running"].includes(status) ? 1 : 0;
  bar.append(rest);
  return bar;
}

export function described(counts) {
  const said = { indexed: "countDone", duplicate: "countKnown", failed: "countFailed", cancelled: "countCancelled", pending: "countWaiting" };
  const parts = /** @type {[string, import("./text.js").Key][]} */ (Object.entries(said)).filter(([part]) => counts[part]);
  return parts.map(([part, key]) => t(key, { count: counts[part] })).join(", ") || t("noPictures");
}
