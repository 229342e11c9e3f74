// Pictures on their way in: sent a few at a time as one job, then followed until each is done or says why not.

import * as api from "./api.js";
import { Refusal } from "./http.js";
import { Watch } from "./live.js";

const AT_A_TIME = 4;
const LOOK_MS = 700;
const PAGE = 1000;
const TRIES = 6;
export const ENDS = ["done", "known", "failed", "cancelled"];

const LONGEST_LABEL = 200; // characters

const folderLabel = (folder) => [...folder.normalize("NFC")].slice(0, LONGEST_LABEL).join("");

/** One picture. state: waiting, sending, queued, embedding, or one of ENDS. */
class Upload {
  constructor(file, name, folder) {
    Object.assign(this, { file, name, folder, state: "waiting", reason: "", imageId: null });
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

  /** Ask how far they are until none is on its way. What is neither pending nor failed was stored. */
  async #follow(job, uploads, sent) {
    const watch = new Watch(job);
    for (;;) {
      await watch.news(LOOK_MS);
      const underway = uploads.filter(({ state }) => ["queued", "embedding"].includes(state));
      if (!underway.length) {
        if (sent()) return watch.end();
        continue;
      }
      let pending, failed;
      try {
        pending = await everyItem(job, "pending");
        failed = await everyItem(job, "failed"); // afterwards: what fails in between is in one of them
      } catch {
        continue; // no answer: ask again
      }
      for (const upload of underway) {
        const waits = pending.get(upload.imageId);
        const error = failed.get(upload.imageId)?.error;
        if (waits) this.#set(upload, waits.attempts ? "embedding" : "queued");
        else this.#set(upload, error ? "failed" : "done", error);
      }
    }
  }

  #set(upload, state, reason = "") {
    if (upload.state === state) return;
    Object.assign(upload, { state, reason });
    this.dispatchEvent(new CustomEvent("change", { detail: upload }));
  }
}

async function everyItem(job, status) {
  const found = new Map();
  for (let cursor = null; ; ) {
    const page = await api.items(job, { status, limit: PAGE, cursor });
    for (const item of page.items) found.set(item.image_id, item);
    cursor = page.next_cursor;
    if (!cursor) return found;
  }
}

const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));

export const uploads = new Uploads();
