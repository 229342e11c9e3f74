// Pictures on their way in: sent a few at a time as one job, then followed until each is done or says why not.

import * as api from "./api.js";
import { Refusal } from "./http.js";
import { Watch } from "./live.js";
import { t } from "./text.js";

const AT_A_TIME = 4;
const LOOK_MS = 700;
const PAGE = 1000;
const PAGES = 2; // read at a time: items are worked on in the order they came
const STATES = { indexed: "done", duplicate: "known", failed: "failed", cancelled: "cancelled" }; // of items that have ended
const TRIES = 6;
export const ENDS = ["done", "known", "failed", "cancelled"];

const LONGEST_LABEL = 200; // characters

const folderLabel = (folder) => [...folder.normalize("NFC")].slice(0, LONGEST_LABEL).join("");

/** One picture. state: waiting, sending, queued, embedding, or one of ENDS. */
class Upload {
  constructor(file, name, folder) {
    this.file = file;
    this.name = name;
    this.folder = folder;
    this.state = "waiting";
    this.reason = "";
    this.imageId = null;
  }
}

class Uploads extends EventTarget {
  all = [];

  add(files, options) {
    const uploads = files.map(({ file, path }) => new Upload(file, path, folderLabel(path.split("/").at(-2) ?? "")));
    this.all.unshift(...uploads);
    this.dispatchEvent(new CustomEvent("add", { detail: uploads }));
    return this.#send(uploads, options).catch((error) => {
      for (const upload of uploads) if (!ENDS.includes(upload.state)) this.#set(upload, "failed", error.message);
    });
  }

  count(...states) {
    return this.all.filter(({ state }) => states.includes(state)).length;
  }

  async #send(uploads, { collection, label, byFolder }) {
    const { job_id: job } = await api.openImport({ source: { type: "upload" }, collection });
    const waiting = [...uploads];
    let sent = false;
    const sender = async () => {
      for (let upload = waiting.shift(); upload; upload = waiting.shift()) {
        await this.#sendOne(upload, { collection, label: byFolder && upload.folder ? upload.folder : label, job_id: job });
      }
    };
    const following = this.#follow(job, uploads, () => sent);
    await Promise.all(Array.from({ length: AT_A_TIME }, sender));
    sent = true;
    await api.close(job);
    await following;
  }

  async #sendOne(upload, fields, tries = TRIES) {
    try {
      this.#set(upload, "sending");
      const accepted = await api.upload({ file: upload.file, name: upload.name, ...fields });
      upload.imageId = accepted.image_id;
      this.#set(upload, accepted.status === "duplicate" ? "known" : "queued");
    } catch (error) {
      const passing = !(error instanceof Refusal) || [0, 429, 503].includes(error.status);
      if (!passing || tries <= 1) return this.#set(upload, "failed", error.message);
      await pause((error.retryAfter || 2 ** (TRIES - tries)) * 1000);
      await this.#sendOne(upload, fields, tries - 1);
    }
  }

  /** Ask how far they are until none is on its way. */
  async #follow(job, uploads, sent) {
    const watch = new Watch(job);
    let cursor = null; // before it, all have ended
    for (;;) {
      await watch.news(LOOK_MS);
      const underway = new Map(uploads.filter(({ state }) => ["queued", "embedding"].includes(state)).map((upload) => [upload.imageId, upload]));
      if (!underway.size) {
        if (sent()) return watch.end();
        continue;
      }
      try {
        const ended = sent() && (await api.job(job)).finished_at;
        // Items that were stored late may stand before the cursor: once the job has ended, all are read again.
        cursor = await this.#read(job, underway, ended ? null : cursor, ended ? Infinity : PAGES);
        if (ended) for (const upload of underway.values()) if (!ENDS.includes(upload.state)) this.#set(upload, "cancelled", t("removedMeanwhile"));
      } catch {
        continue; // no answer: ask again
      }
    }
  }

  /** Read some pages of a job's items behind a cursor. Returns the last cursor before which all have ended. */
  async #read(job, underway, cursor, pages) {
    let ended = cursor;
    let all = true;
    for (let page = 0; page < pages; page++) {
      const { items, next_cursor: next } = await api.items(job, { limit: PAGE, cursor });
      for (const { image_id: id, status, attempts, error } of items) {
        const upload = underway.get(id);
        if (status === "pending") all = false;
        if (upload) this.#set(upload, status === "pending" ? (attempts ? "embedding" : "queued") : STATES[status], error ?? "");
      }
      if (!next) break;
      cursor = next;
      if (all) ended = next;
    }
    return ended;
  }

  #set(upload, state, reason = "") {
    if (upload.state === state) return;
    Object.assign(upload, { state, reason });
    this.dispatchEvent(new CustomEvent("change", { detail: upload }));
  }
}

const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));

export const uploads = new Uploads();

/** What is not sent yet is lost with the page. */
addEventListener("beforeunload", (event) => {
  if (uploads.count("waiting", "sending")) event.preventDefault();
});
