// The page: its views, what stands around them, and pictures that are dropped or pasted anywhere.

import { ready } from "./api.js";
import { showTray } from "./basket.js";
import { h } from "./dom.js";
import { chosen, dropped } from "./files.js";
import { leftAt, may, NO_ANSWER, openSession, ownCollection, signedIn, signOut } from "./http.js";
import { again, current, start } from "./router.js";
import { tried } from "./say.js";
import { choose, language, LANGUAGES, t } from "./text.js";

/** @typedef {import("./text.js").Key} Key */

// Loaded when they are first shown: {title, show} each.
const VIEWS = {
  gallery: () => import("./gallery.js"),
  add: () => import("./add.js"),
  image: () => import("./detail.js"),
  search: () => import("./search.js"),
  identify: () => import("./identify.js"),
  map: () => import("./map.js"),
  duplicates: () => import("./duplicates.js"),
  jobs: () => import("./jobs.js"),
  job: () => import("./job.js"),
  trash: () => import("./bin.js"),
  admin: () => import("./admin.js"),
};
const STATE_MS = 10_000;
const LOST_MS = 2_000; // while there is no answer
const $ = (id) => document.getElementById(id);

/** One picture on the views that ask about pictures is a question; anything else is to be added. */
async function receive(entries, way = null) {
  const single = entries.length === 1 && entries[0].file.type.startsWith("image/");
  const { view } = current();
  if (view === "identify" && way !== "add" && single) (await VIEWS.identify()).identifyBy([entries[0].file]);
  else if (single && (way === "search" || (way === null && view === "search"))) (await VIEWS.search()).searchBy(entries[0].file);
  else (await VIEWS.add()).addFiles(entries);
}

function hearDrops() {
  const over = $("drop");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const wayOf = (event) => event.target.closest?.("[data-way]")?.dataset.way ?? null;
  document.addEventListener("dragenter", (event) => carriesFiles(event) && (over.hidden = false));
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    for (const half of /** @type {Iterable<HTMLElement>} */ (over.children)) half.classList.toggle("here", half.dataset.way === wayOf(event));
  });
  document.addEventListener("dragleave", (event) => !event.relatedTarget && (over.hidden = true));
  document.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    over.hidden = true;
    const way = wayOf(event);
    receive(await dropped(event.dataTransfer), way);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) receive(chosen(clipboardData.files));
  });
}

let asking = 0; // the timer of the next question

/** Whether the service is ready, asked now and again. */
async function state() {
  const line = $("state");
  const next = (milliseconds) => {
    clearTimeout(asking);
    asking = setTimeout(state, milliseconds);
  };
  try {
    const { ready: all, checks } = await ready();
    const missing = Object.keys(checks).filter((part) => !checks[part]);
    line.textContent = all ? t("ready") : t("waitingFor", { what: missing.join(", ") });
    line.dataset.ready = all;
    if (document.querySelector("[data-lost=true]")) again(); // the view had no answer, and there is one now
    next(STATE_MS);
  } catch {
    line.textContent = t("noAnswer");
    line.dataset.ready = "false";
    next(LOST_MS);
  }
}

/** What index.html says is English. */
function translate() {
  document.documentElement.lang = language;
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-text], [data-label]"))) {
    const { text, label } = /** @type {{text?: Key, label?: Key}} */ (part.dataset);
    if (text) part.textContent = t(text);
    if (label) part.setAttribute("aria-label", t(label));
  }
  const languages = /** @type {HTMLSelectElement} */ ($("language"));
  languages.replaceChildren(...Object.entries(LANGUAGES).map(([tag, name]) => h("option", { value: tag, lang: tag, selected: tag === language }, name)));
  languages.addEventListener("change", () => choose(languages.value));
}

translate();
await openSession();
const left = leftAt();
if (left && !location.hash) history.replaceState(null, "", left);
/** @type {HTMLElement} */ (document.querySelector("nav [data-view=admin]")).hidden = !may("write");
$("sign-out").hidden = !signedIn();
$("sign-out").addEventListener("click", () => tried(signOut));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
showTray($("tray"));
hearDrops();
state();
addEventListener(NO_ANSWER, state);
const own = ownCollection();
await start(VIEWS, $("main"), own ? { collection: own } : {});
