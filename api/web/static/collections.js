// Collections: made, limited, tiled and deleted.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, field, h, select, titled } from "./dom.js";
import { ago, number, seconds, size, when } from "./format.js";
import { paged } from "./paged.js";
import { to } from "./router.js";
import { say, tried } from "./say.js";
import { t } from "./text.js";

const PAGE = 100;
const MEGABYTE = 1024 ** 2;
const TILES = [0, 4, 9];

const tilesOf = (counts, chosen) => select(counts.map((count) => [count, count ? t("tilesOfEach", { count }) : t("noTiles")]), chosen);

export async function collections(signal) {
  const list = h("ul", { class: "cards" });
  const { more, load } = paged(list, (cursor) => api.pageOfCollections({ limit: PAGE, cursor }, signal), (one) => card(one, load), t("more"));
  await load();
  return titled(
    "collections",
    t("collections"),
    h("p", { class: "faint" }, t("aboutCollections")),
    maker(load),
    list,
    more,
  );
}

function maker(load) {
  const name = h("input", { type: "text", required: true, pattern: "[a-zA-Z0-9][a-zA-Z0-9._\\-]{0,62}", title: t("collectionNames"), autocomplete: "off", spellcheck: false });
  const tiles = tilesOf(TILES, 0);
  const form = h("form", { class: "bar" }, field(t("name"), name), field(t("tiling"), tiles), h("button", { class: "primary" }, t("makeCollection")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!(await tried(() => api.makeCollection({ name: name.value.trim(), tiles: Number(tiles.value) }), t("collectionMade")))) return;
    form.reset();
    await load();
  });
  return form;
}

function card(one, load) {
  const { name, images, created_at: made } = one;
  const remove = async () => {
    if (!(await ask(t("deleteCollection", { name }), t("deleteCollectionText", { pictures: t("pictures", { count: images }) }), t("delete")))) return;
    if (await tried(() => api.removeCollection(name), t("collectionDeleted"))) await load();
  };
  return h(
    "li",
    { class: "card" },
    h("div", { class: "actions" }, h("h3", {}, h("a", { href: to("gallery", { collection: name }) }, name)), action(t("delete"), remove, { quiet: true, symbol: "trash", "aria-label": `${t("delete")} ${name}` })),
    h("p", { class: "faint" }, t("pictures", { count: images }), ", ", h("time", { dateTime: made, title: when(made) }, t("madeAgo", { ago: ago(made) }))),
    h("div", { class: "bar" }, tiling(one, load)),
    h("details", { open: one.max_images !== null || one.max_bytes !== null }, h("summary", {}, t("quota")), quota(one)),
  );
}

/** What tiles take is told before they are switched on. */
function tiling({ name, tiles }, load) {
  const choice = tilesOf(tiles ? [0, tiles] : TILES, tiles); // from 4 to 9, or back, goes by none
  choice.setAttribute("aria-label", `${t("tiling")} ${name}`);
  const back = () => (choice.value = String(tiles));
  choice.addEventListener("change", async () => {
    const count = Number(choice.value);
    const estimate = await tried(() => api.changeCollection(name, { tiles: count, dry_run: true }));
    if (!estimate) return back();
    const { vectors, bytes, seconds: takes } = estimate.tiling;
    const costs = { count, vectors: number(vectors), size: size(bytes), takes: takes === null ? t("notKnownYet") : seconds(takes) };
    if (!(await ask(t(count ? "switchTilesOn" : "switchTilesOff", { name }), count ? t("switchTilesOnText", costs) : t("switchTilesOffText"), t("change")))) return back();
    const changed = await tried(() => api.changeCollection(name, { tiles: count }));
    if (!changed) return back();
    const job = changed.tiling.job_id;
    say(job ? h("a", { href: to(`job/${job}`) }, t("tilesOnTheirWay")) : t("saved"));
    return load();
  });
  return field(t("tiling"), choice);
}

function quota({ name, max_images: most, max_bytes: bytes }) {
  const [pictures, megabytes] = [most, bytes && Math.ceil(bytes / MEGABYTE)].map((value) => h("input", { type: "number", min: 0, step: 1, defaultValue: value ?? "", placeholder: t("noLimit") }));
  const limit = (input, unit) => (input.value === "" ? null : Number(input.value) * unit);
  const form = h("form", { class: "bar" }, field(t("mostPictures"), pictures), field(t("mostMegabytes"), megabytes), h("button", { class: "quiet", "aria-label": `${t("set")} ${name}` }, t("set")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await tried(() => api.changeCollection(name, { max_images: limit(pictures, 1), max_bytes: limit(megabytes, MEGABYTE) }), t("saved"));
  });
  return form;
}
