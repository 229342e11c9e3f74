// What to do where there is nothing yet.

import * as api from "./api.js";
import { action, h, icon } from "./dom.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { t } from "./text.js";

/** symbol: an icon's name; what follows the text are ways out. */
export const empty = (symbol, headline, text, ...ways) =>
  h(
    "section",
    { class: "empty" },
    h("div", { class: "emblem" }, icon(symbol)),
    h("h2", {}, headline),
    h("p", {}, text),
    ways.length > 0 && h("div", { class: "actions" }, ways),
  );

/** An empty gallery. */
export const nothingYet = () =>
  empty(
    "gallery",
    t("noPicturesYet"),
    t("noPicturesYetText"),
    h("a", { class: "button primary", href: to("add") }, icon("plus"), h("span", {}, t("addPictures"))),
    action(t("loadSampleGarden"), loadGarden, { quiet: true, symbol: "umbel" }),
  );

async function loadGarden() {
  const begun = await tried(() => api.openImport({ source: { type: "sample", size: 640 }, collection: "garden" }));
  if (!begun) return;
  say(t("gardenBeingDrawn"));
  go(`add`, { job: begun.job_id });
}

export const nothingFound = (view) =>
  empty("search", t("nothingMatches"), t("nothingMatchesText"), h("a", { class: "button quiet", href: to(view) }, t("clearFilters")));
