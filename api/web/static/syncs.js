// Syncs: folders of the server and buckets that collections follow, what their runs did, and what the next would do.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, check, field, h, select, titled } from "./dom.js";
import { ago, span, when } from "./format.js";
import { ownCollection } from "./http.js";
import { follow } from "./live.js";
import { paged } from "./paged.js";
import { to } from "./router.js";
import { say, tried } from "./say.js";
import { reason, t } from "./text.js";

const MINUTE = 60;
const EVERY = [15 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE, 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE].map((seconds) => [seconds, span(seconds)]);
/** @type {[string, import("./text.js").Key][]} */
const KINDS = [
  ["new", "filesNew"],
  ["changed", "filesChanged"],
  ["renamed", "filesRenamed"],
  ["vanished", "filesVanished"],
  ["unchanged", "filesUnchanged"],
  ["failed", "filesFailed"],
];
const PAGE = 100;
const LOOK_MS = 800;

export async function syncs(signal) {
  const list = h("ul", { class: "cards one" });
  const none = h("p", { class: "faint" }, t("noSyncYet"));
  const { more, load } = paged(list, (cursor) => api.syncs({ limit: PAGE, cursor }, signal), (sync) => card(sync, renew));
  let shown = "";
  const renew = async () => {
    const items = await load();
    none.hidden = items.length > 0;
    shown = JSON.stringify(items);
  };
  const look = async () => {
    const { items } = await api.syncs({ limit: PAGE }, signal);
    if (JSON.stringify(items) !== shown) await renew();
  };
  await renew();
  follow(look, LOOK_MS, signal).catch((error) => error.name !== "AbortError" && say(error.message, { bad: true }));
  return titled(
    "syncs",
    t("sources"),
    h("p", { class: "faint" }, t("aboutSyncs")),
    await maker(renew, signal),
    none,
    list,
    more,
  );
}

async function maker(renew, signal) {
  const place = h("input", { type: "text", required: true, placeholder: "s3://photos/2026, /data/photos", autocomplete: "off", spellcheck: false });
  const { items } = await api.collections(signal);
  const into = h("input", { type: "text", required: true, defaultValue: ownCollection() ?? "default", list: "sync-collections", autocomplete: "off", spellcheck: false });
  const every = select(EVERY, EVERY[0][0]);
  const [labelled, hidden, inPlace, adopt, paused] = [t("labelByFolder"), t("hiddenFilesToo"), t("leaveInPlace"), t("adoptWhatIsThere"), t("beginPaused")].map((text) => check(text));
  const ticked = (box) => box.querySelector("input").checked;
  const form = h(
    "form",
    { class: "maker" },
    h("div", { class: "bar" }, field(t("folderOrBucket"), place), field(t("intoCollection"), into), field(t("interval"), every), labelled, h("button", { class: "primary" }, t("follow"))),
    h("datalist", { id: "sync-collections" }, items.map((one) => h("option", { value: one.name }))),
    h("details", {}, h("summary", {}, t("moreOptions")), h("div", { class: "bar" }, hidden, inPlace, adopt, paused)),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const at = place.value.trim();
    const kind = at.startsWith("s3://") ? { type: "s3", url: at } : { type: "folder", path: at };
    const made = await tried(
      () =>
        api.addSync({
          source: { ...kind, include_hidden: ticked(hidden), in_place: ticked(inPlace) },
          collection: into.value.trim(),
          every_seconds: Number(every.value),
          label_from_folder: ticked(labelled),
          adopt: ticked(adopt),
          paused: ticked(paused),
        }),
      t("syncAdded"),
    );
    if (!made) return;
    form.reset();
    await renew();
  });
  return form;
}

function state({ paused, last_run: last }) {
  if (last && !last.finished_at) return { word: t("running"), status: "running" };
  if (paused) return { word: t("paused"), status: "paused" };
  return last?.error ? { word: t("failing"), status: "failed" } : { word: t("following"), status: "active" };
}

async function card(sync, renew) {
  const { id, location, collection, every_seconds: every, files, paused, in_place: inPlace, next_run: next, last_run: last, created_by: maker, created_at: at } = sync;
  const { word, status } = state(sync);
  const act = (text, todo, options = {}) => action(text, todo, { quiet: true, "aria-label": `${text} ${location}`, ...options });
  const then = async (todo, said) => (await tried(() => todo().then(() => true), said)) && renew();
  const run = (options) => then(() => api.runSync(id, options), t("runBegun"));
  const remove = async () => {
    if (await ask(t("removeSync"), t("removeSyncText", { location }), t("remove"))) await then(() => api.removeSync(id), t("removed"));
  };
  const removeGone = async () => {
    if (await ask(t("removeGone"), t("removeGoneText"), t("remove"))) await run({ allow_vanished: true });
  };
  const under = last && !last.finished_at;
  return h(
    "li",
    { class: "card" },
    h("div", { class: "actions" }, h("h3", {}, location), h("span", { class: "badge", "data-status": status }, word)),
    h("p", { class: "faint" }, `${t("syncFacts", { collection, span: span(every), files: t("filesKnown", { count: files }), maker })} `, h("time", { dateTime: at, title: when(at) }, ago(at)), inPlace && `, ${t("notCopied")}`),
    last ? ran(last) : h("p", { class: "faint" }, t("noRunYet")),
    last?.error && h("p", { class: "bad" }, await reason(last.error_code, last.error)),
    !paused && !under && h("p", {}, t("nextRun"), " ", h("time", { dateTime: next, title: when(next) }, new Date(next).getTime() < Date.now() ? t("justNow") : ago(next))),
    !under &&
      h(
        "div",
        { class: "actions" },
        act(t("dryRun"), () => run({ dry_run: true })),
        act(t("runNow"), () => run({})),
        last?.error_code === "too_many_vanished" && act(t("removeGone"), removeGone),
        paused ? act(t("resume"), () => then(() => api.steerSync(id, "resume"), t("itGoesOn"))) : act(t("pause"), () => then(() => api.steerSync(id, "pause"), t("itWaits"))),
        act(t("remove"), remove, { symbol: "trash" }),
      ),
    last?.dry_run && found(last.report),
  );
}

/** What the last run did, or, dry, would have done. */
function ran({ job_id: job, dry_run: dry, report, created_at: at }) {
  const counts = KINDS.filter(([kind]) => report[kind]).map(([kind, key]) => t(key, { count: report[kind] }));
  return h("p", {}, h("a", { href: to(`job/${job}`) }, t(dry ? "lastDryRun" : "lastRun")), ", ", h("time", { dateTime: at, title: when(at) }, ago(at)), `: ${counts.join(", ") || t("nothing")}.`);
}

/** The files that a dry run found, a hundred of each kind. */
const found = (report) =>
  KINDS.filter(([kind]) => report[`${kind}_files`]?.length).map(([kind, key]) =>
    h("details", {}, h("summary", {}, t(key, { count: report[kind] })), h("ul", { class: "named" }, report[`${kind}_files`].map((name) => h("li", {}, name)))),
  );
