// Search by a picture or a part of it, by one of the gallery, or by several: more like these, less like those.

import * as api from "./api.js";
import { chooser, field, h, icon } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, labelFilter, seen, sizes } from "./filters.js";
import { decimal } from "./format.js";
import { likenessIn } from "./likeness.js";
import { markable, parse } from "./part.js";
import { go, note, to } from "./router.js";
import { remember } from "./sequence.js";
import { t } from "./text.js";
import { thumb, tile } from "./tiles.js";

export const title = t("search");
export const TAKEN = "image/*,.heic,.heif,.avif"; // whatever it is, the API tells what it does not take
const PAGE = 48;
const AHEAD = "600px"; // below the screen, where the next page is asked for
let picture = null; // the file that was dropped, pasted or chosen

export function searchBy(file) {
  picture = file;
  go("search", { file: file.name || "pasted", at: Date.now() });
}

export async function show({ main, heading, parameters, signal }) {
  const { image = "", more: wanted = "", less = "", file = "", collection = "", label = "", within = "" } = parameters;
  let box = parse(parameters.box ?? "");
  const asked = file ? picture : image || wanted;
  if (!asked) return main.append(ways());
  const results = h("ul", { class: "tiles", "aria-label": t("matches") });
  remember(results);
  const how = h("p", { class: "faint", role: "status" }, t("searching"));
  const more = h("button", { class: "quiet", onclick: () => next() }, t("showMore"));
  const showMore = h("p", { class: "load-more", hidden: true }, more);
  const add = h("a", { class: "button quiet", href: to("add") }, t("addPictures"));
  const nothing = empty("search", t("nothingSimilar"), t("nothingSimilarText"), add);
  nothing.hidden = true;
  const reach = slider(within, () => narrow());
  const asking = (changes) => ({ ...parameters, box: box ? box.join(",") : "", within: reach.value(), ...changes });
  const refilter = (changes) => go("search", asking(changes));
  const part = {
    box,
    changed: (marked) => {
      box = marked;
      note("search", asking({}));
      renew();
    },
  };
  main.append(
    h(
      "div",
      { class: "sided" },
      h(
        "aside",
        { class: "panel", "aria-label": t("whatIsSearchedFor") },
        await queried({ image, more: wanted, less, file }, part, signal),
        collectionFilter(collection, (value) => refilter({ collection: value }), await sizes(signal)),
        labelFilter(label, (value) => refilter({ label: value })),
        reach.element,
        h("div", { class: "actions" }, chooser(t("anotherPicture"), ([chosen]) => searchBy(chosen), { accept: TAKEN })),
      ),
      h("section", { class: "found", "aria-label": t("results") }, how, results, nothing, showMore),
    ),
  );
  let summary = "";
  let cursor = null; // of the next page
  let coming = false;
  let farthest = 0;
  let asks = 0; // parts that have been marked
  const narrow = () => {
    const most = reach.value();
    let left = 0;
    for (const item of results.children) left += (item.hidden = most !== "" && item.distance > Number(most)) ? 0 : 1;
    how.textContent = `${summary}${left < results.childElementCount ? `; ${t("withinDistance", { count: left })}` : ""}`;
    showMore.hidden = !cursor || (most !== "" && farthest > Number(most)); // all that follow are farther away
    watch();
    note("search", asking({}));
  };
  const near = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && next(), { rootMargin: AHEAD });
  signal.addEventListener("abort", () => near.disconnect());
  const watch = () => {
    near.unobserve(more); // and anew: it tells once whether it is near already
    if (!signal.aborted) near.observe(more);
  };
  const renew = () => {
    asks += 1;
    [cursor, coming, farthest, summary] = [null, false, 0, ""];
    results.replaceChildren();
    nothing.hidden = showMore.hidden = true;
    return next();
  };
  const next = async () => {
    if (coming || signal.aborted) return;
    coming = true;
    const turn = asks;
    try {
      const answer = await find({ image, more: wanted, less, collection, label, box, cursor }, file && picture, signal);
      if (turn !== asks) return; // another part has been marked meanwhile
      const shown = results.childElementCount;
      const focused = document.activeElement === more;
      seen(answer.matches);
      // What several pictures have in common, or a part of one, is nearer or farther than pairs are: no word holds for it.
      const likeness = (image || file) && !box ? await likenessIn(collection, answer.model_version, signal) : () => null;
      results.append(...answer.matches.map((found) => match(found, likeness(found))));
      cursor = answer.next_cursor;
      summary = describe(results.childElementCount, answer.search);
      farthest = Math.max(farthest, answer.matches.at(-1)?.distance ?? 0);
      reach.fit(farthest);
      how.classList.remove("trouble");
      coming = false;
      nothing.hidden = results.childElementCount > 0;
      narrow();
      if (focused) results.children[shown]?.querySelector("a").focus();
    } catch (error) {
      if (turn !== asks) return;
      coming = false; // the button asks again
      if (error.name === "AbortError") return;
      how.textContent = error.message;
      how.classList.add("trouble");
    }
  };
  await next();
}

function find({ image, more, less, collection, label, box, cursor }, file, signal) {
  const options = { k: PAGE, ...(collection && { collection }), ...(cursor && { cursor }) };
  const filter = label ? { label: [label] } : null;
  // The cursor stands for the file.
  if (file && cursor) return api.search({ ...options, ...(box && { box }), ...(filter && { filter }) }, signal);
  if (file) return api.searchFile({ file, ...options, box: box && box.join(","), filter: filter && JSON.stringify(filter) }, signal);
  const query = image ? { image_id: image, ...(box && { box }) } : { positive: more.split(","), negative: less ? less.split(",") : [] };
  return api.search({ ...query, ...options, ...(filter && { filter }) }, signal);
}

function match(found, word) {
  const item = tile(found, { note: decimal(found.similarity, 2), word });
  item.distance = found.distance;
  item.title = t("cosineDistance", { value: decimal(found.distance, 4) });
  return item;
}

function describe(matches, search) {
  const way = search.mode === "exact" ? t("everyPictureCompared") : t("throughIndex");
  return `${t("countMatches", { count: matches })}, ${way}, ${Math.round(search.took_ms)} ms`;
}

async function queried({ image, more, less, file }, part, signal) {
  if (file) {
    const source = URL.createObjectURL(picture);
    signal.addEventListener("abort", () => URL.revokeObjectURL(source));
    return h("figure", { class: "asked" }, markable(h("img", { src: source, alt: t("pictureSearchedBy") }), part), h("figcaption", {}, file));
  }
  if (image) {
    const known = await api.image(image, signal);
    const shown = h("img", { src: api.file(image), alt: known.label ?? t("pictureWithoutLabel") });
    return h(
      "figure",
      { class: "asked" },
      markable(shown, { ...part, size: known }),
      h("figcaption", {}, h("a", { href: to(`image/${image}`) }, known.label ?? known.name ?? t("noLabel"))),
    );
  }
  return h("div", {}, examples(t("moreLike"), more), less && examples(t("lessLike"), less));
}

const examples = (text, ids) =>
  h("div", { class: "examples" }, h("h2", {}, text), h("div", { class: "thumbs" }, ids.split(",").map((id) => thumb(id, text))));

/** Maximum distance. Its end is the farthest that was found: there nothing is left out. */
function slider(within, changed) {
  const range = h("input", { type: "range", min: 0, max: 1, step: "any", value: 1 });
  const value = h("output", {}, t("any"));
  let most = 0;
  const shown = () => (Number(range.value) >= 1 ? "" : (Number(range.value) * most).toFixed(3));
  range.addEventListener("input", () => {
    value.textContent = shown() || t("any");
    range.setAttribute("aria-valuetext", shown() || t("any"));
    changed();
  });
  const named = field(t("maxDistance"), range);
  named.firstChild.append(value);
  return {
    element: named,
    value: shown,
    fit(farthest) {
      const kept = shown() || within;
      most = farthest;
      if (kept && farthest) range.value = Math.min(1, Number(kept) / farthest);
      value.textContent = shown() || t("any");
    },
  };
}

function ways() {
  return h(
    "div",
    { class: "welcome" },
    empty(
      "search",
      t("searchWithPicture"),
      t("searchWithPictureText"),
      chooser(t("choosePicture"), ([chosen]) => searchBy(chosen), { accept: TAKEN, quiet: false, symbol: "search" }),
      h("a", { class: "button quiet", href: to("gallery") }, t("pickFromGallery")),
    ),
    h(
      "p",
      { class: "hint" },
      t("severalSayMore"),
      icon("plus"),
      t("thenTurnSome"),
      icon("minus"),
      t("inTheTray"),
    ),
  );
}
