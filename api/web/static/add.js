// Adding pictures: where they come from, and a tile for each that shows its way in.

import * as api from "./api.js";
import { check, chooser, field, h, icon } from "./dom.js";
import { chosen, sorted } from "./files.js";
import { labelInput } from "./filters.js";
import { forget } from "./gallery.js";
import * as live from "./live.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { TAKEN } from "./search.js";
import { reason, t } from "./text.js";
import { ENDS, uploads } from "./uploads.js";

export const title = t("addPictures");
const MOST_TILES = 600;
const LOOK_MS = 900;
const BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
const SAID = {
  waiting: t("waiting"),
  sending: t("sending"),
  queued: t("queued"),
  embedding: t("embedding"),
  done: t("done"),
  known: t("knownAlready"),
  failed: t("failed"),
  cancelled: t("cancelled"),
};
const options = { collection: "default", label: "", byFolder: true, includeHidden: false };
let rules = null; // what the server says of files

/** Bring in files from wherever, and show their way. */
export async function addFiles(entries) {
  rules ??= await tried(api.files);
  if (!rules) return;
  const { pictures, archives, others, unread } = await sorted(entries, rules, options);
  if (others) say(t("othersPassedOver", { count: others }));
  if (unread) say(t("unreadFiles", { count: unread }));
  if (pictures.length) uploads.add(pictures, { ...options });
  let job = null;
  for (const file of archives) {
    const { collection, byFolder, includeHidden } = options;
    const fields = { file, collection, label_from_folder: byFolder, include_hidden: includeHidden };
    const begun = await tried(() => api.importFile(fields));
    job = begun?.job_id ?? job;
  }
  if (pictures.length || job) go("add", { job: job ?? "" });
}

export async function show({ main, parameters, signal }) {
  if (parameters.collection) options.collection = parameters.collection;
  const list = h("ul", { class: "tiles arriving", "aria-label": t("picturesOnTheirWay") });
  const progress = h("p", { class: "progress", role: "status" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": t("progress"), hidden: true });
  main.append(dropzone(), settings(), h("div", { class: "arrivals" }, progress, bar), list);
  if (parameters.job) return followJob(parameters.job, list, progress, bar, signal);
  follow(list, progress, bar, signal);
}

function dropzone() {
  const add = (files) => addFiles(chosen(files));
  return h(
    "section",
    { class: "dropzone", "aria-label": t("choosePictures") },
    h("div", { class: "emblem" }, icon("add")),
    h("p", {}, t("dropAnywhereOrPaste")),
    h(
      "div",
      { class: "actions" },
      chooser(t("choosePictures"), add, { multiple: true, accept: TAKEN, quiet: false }),
      chooser(t("aFolder"), add, { webkitdirectory: true, multiple: true }),
      chooser(t("aZipOrTar"), add, { multiple: true, accept: ".zip,.tar,.tgz,.tbz,.tbz2,.txz,.tlz,.gz,.bz2,.xz,.lzma,.csv,.tsv,.jsonl,.ndjson" }),
    ),
    h("p", { class: "faint" }, t("kindsTaken")),
  );
}

function settings() {
  const keep = (name) => ({ target }) => (options[name] = target.value.trim());
  const name = h("input", {
    type: "text",
    value: options.collection,
    required: true,
    pattern: "[a-zA-Z0-9][a-zA-Z0-9._\\-]{0,62}",
    oninput: keep("collection"),
  });
  return h(
    "div",
    { class: "bar" },
    field(t("intoCollection"), name),
    field(t("label"), labelInput(options.label, { placeholder: t("none"), oninput: keep("label") })),
    check(t("labelByFolder"), {
      checked: options.byFolder,
      onchange: ({ target }) => (options.byFolder = target.checked),
    }),
    check(t("hiddenFilesToo"), {
      checked: options.includeHidden,
      onchange: ({ target }) => (options.includeHidden = target.checked),
    }),
  );
}

function follow(list, progress, bar, signal) {
  const shown = new Map();
  const put = (some) => {
    const fresh = some.slice(0, MOST_TILES).map((upload) => {
      const tile = new Arriving(upload.name, URL.createObjectURL(upload.file), signal);
      shown.set(upload, tile);
      tile.set(upload);
      return tile.element;
    });
    list.prepend(...fresh);
    tell();
  };
  const tell = () => {
    const { length } = uploads.all;
    if (!length) return;
    const ended = uploads.count(...ENDS);
    const failed = uploads.count("failed");
    const known = uploads.count("known");
    progress.textContent = [
      t("finishedOf", { ended, count: length }),
      known && t("countKnown", { count: known }),
      failed && t("countFailed", { count: failed }),
    ]
      .filter(Boolean)
      .join(", ");
    Object.assign(bar, { hidden: ended === length, max: length, value: ended });
  };
  uploads.addEventListener("add", (/** @type {CustomEvent} */ { detail }) => put(detail), { signal });
  uploads.addEventListener(
    "change",
    (/** @type {CustomEvent} */ { detail }) => {
      shown.get(detail)?.set(detail);
      if (ENDS.includes(detail.state)) forget();
      tell();
    },
    { signal },
  );
  put(uploads.all);
}

/** A job that workers read from a source: its items become tiles as they are listed. */
async function followJob(id, list, progress, bar, signal) {
  const shown = new Map();
  const look = async () => {
    const job = await api.job(id, signal);
    const { items } = await api.items(id, { limit: MOST_TILES }, signal);
    for (const item of items) {
      if (!shown.has(item.id)) {
        shown.set(item.id, new Arriving(item.name ?? t("aPicture")));
        list.append(shown.get(item.id).element);
      }
      shown.get(item.id).set({ imageId: item.image_id, state: stateOf(item), reason: await reason(item.error_code, item.error) });
    }
    const { total, pending, failed } = job.counts;
    bar.hidden = Boolean(job.finished_at);
    Object.assign(bar, { max: total || 1, value: total - pending });
    progress.replaceChildren(
      job.error ?? (total ? t("finishedOf", { ended: total - pending, count: total }) : t("readingSource")),
      failed ? `, ${t("countFailed", { count: failed })}` : "",
      " · ",
      h("a", { href: to(`job/${id}`) }, t("theJob")),
    );
    forget();
    return job.finished_at;
  };
  return (await look()) ? null : () => live.follow(look, LOOK_MS, signal, id);
}

function stateOf({ status, attempts, image_id }) {
  if (status === "pending") return attempts && image_id ? "embedding" : "queued";
  return { indexed: "done", duplicate: "known" }[status] ?? status;
}

/** A tile whose picture is on its way. */
class Arriving {
  /** source: a URL of what is on its way, given back once it is shown, or when the signal says so. */
  constructor(name, source = null, signal = null) {
    this.image = h("img", { alt: "", loading: "lazy", decoding: "async" });
    this.image.addEventListener("error", () => (this.image.src = BLANK), { once: true }); // what is no picture
    if (source) {
      const giveBack = () => URL.revokeObjectURL(source);
      this.image.addEventListener("load", giveBack, { once: true });
      this.image.addEventListener("error", giveBack, { once: true });
      signal.addEventListener("abort", giveBack, { once: true });
      this.image.src = source;
    }
    else this.image.hidden = true;
    this.state = h("span", { class: "state" });
    this.reason = h("span", { class: "reason", hidden: true });
    this.box = h("a", { class: "picture" }, this.image, h("span", { class: "caption" }, h("span", { class: "label" }, name.split("/").at(-1)), this.state), this.reason);
    this.element = h("li", { class: "tile", title: name }, this.box);
  }

  set({ state, reason, imageId }) {
    this.element.dataset.state = state;
    this.state.textContent = SAID[state] ?? state;
    this.reason.textContent = reason ?? "";
    this.reason.hidden = !reason;
    if (imageId && this.image.hidden) {
      this.image.src = api.thumbnail(imageId);
      this.image.hidden = false;
    }
    if (imageId) this.box.href = to(`image/${imageId}`);
  }
}
