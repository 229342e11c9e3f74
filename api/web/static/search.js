// Search by a picture, by one of the gallery, or by several: more like these, less like those.

import * as api from "./api.js";
import { chooser, field, h, icon } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, labelFilter, seen, sizes } from "./filters.js";
import { counted } from "./format.js";
import { go, note, to } from "./router.js";
import { remember } from "./sequence.js";
import { thumb, tile } from "./tiles.js";

export const title = "Search";
export const TAKEN = "image/*,.heic,.heif,.avif"; // whatever it is, the API tells what it does not take
const STEPS = [48, 200, 1000];
let picture = null; // the file that was dropped, pasted or chosen

export function searchBy(file) {
  picture = file;
  go("search", { file: file.name || "pasted", at: Date.now() });
}

export async function show({ main, heading, parameters, signal }) {
  const { image = "", more = "", less = "", file = "", collection = "", label = "", within = "" } = parameters;
  const asked = file ? picture : image || more;
  if (!asked) return main.append(ways());
  const results = h("ul", { class: "tiles", "aria-label": "Matches" });
  remember(results);
  const how = h("p", { class: "faint", role: "status" }, "Searching…");
  const further = h("p", { class: "further" });
  const reach = slider(within, () => narrow());
  const refilter = (changes) => go("search", { ...parameters, within: reach.value(), ...changes });
  main.append(
    h(
      "div",
      { class: "sided" },
      h(
        "aside",
        { class: "panel", "aria-label": "What is searched for" },
        await queried({ image, more, less, file }, signal),
        collectionFilter(collection, (value) => refilter({ collection: value }), await sizes(signal)),
        labelFilter(label, (value) => refilter({ label: value })),
        reach.element,
        h("div", { class: "actions" }, chooser("Another picture", ([chosen]) => searchBy(chosen), { accept: TAKEN })),
      ),
      h("section", { class: "found", "aria-label": "Results" }, how, results, further),
    ),
  );
  const narrow = () => {
    const most = reach.value();
    let left = 0;
    for (const item of results.children) left += !(item.hidden = most !== "" && item.distance > Number(most));
    how.textContent = `${told}${left < results.childElementCount ? `; ${counted(left, "picture")} within the distance` : ""}`;
    note("search", { ...parameters, within: most });
  };
  let told = "";
  const ask = async (k) => {
    const answer = await find({ image, more, less, collection, label, k }, file && picture, signal);
    seen(answer.matches);
    results.replaceChildren(...answer.matches.map(match));
    told = describe(answer);
    reach.fit(answer.matches.at(-1)?.distance ?? 0);
    const next = STEPS.find((step) => step > k);
    further.replaceChildren(
      answer.search.returned === k && next ? h("button", { class: "quiet", onclick: () => ask(next) }, `Show up to ${next}`) : "",
    );
    narrow();
    if (!answer.matches.length) {
      results.after(empty("search", "Nothing is similar", "Take away a filter, or add pictures to compare with.", h("a", { class: "button quiet", href: to("add") }, "Add pictures")));
    }
  };
  try {
    await ask(STEPS[0]);
  } catch (error) {
    if (error.name === "AbortError") return;
    how.textContent = error.message;
    how.classList.add("trouble");
  }
}

function find({ image, more, less, collection, label, k }, file, signal) {
  const options = { k, ...(collection && { collection }) };
  const filter = label ? { label: [label] } : null;
  if (file) return api.searchFile({ file, ...options, filter: filter && JSON.stringify(filter) }, signal);
  const query = image ? { image_id: image } : { positive: more.split(","), negative: less ? less.split(",") : [] };
  return api.search({ ...query, ...options, ...(filter && { filter }) }, signal);
}

function match(found) {
  const item = tile(found, { note: found.similarity.toFixed(2) });
  item.distance = found.distance;
  item.title = `cosine distance ${found.distance.toFixed(4)}`;
  return item;
}

function describe({ matches, search }) {
  const way = search.mode === "exact" ? "every picture compared" : "through the HNSW index";
  return `${counted(matches.length, "match", "matches")}, ${way}, ${Math.round(search.took_ms)} ms`;
}

async function queried({ image, more, less, file }, signal) {
  if (file) {
    const source = URL.createObjectURL(picture);
    signal.addEventListener("abort", () => URL.revokeObjectURL(source));
    return h("figure", { class: "asked" }, h("img", { src: source, alt: "" }), h("figcaption", {}, file));
  }
  if (image) {
    const known = await api.image(image, signal);
    return h(
      "figure",
      { class: "asked" },
      h("a", { href: to(`image/${image}`) }, h("img", { src: api.file(image), alt: known.label ?? "picture without a label" })),
      h("figcaption", {}, known.label ?? known.name ?? "no label"),
    );
  }
  return h("div", {}, examples("More like", more), less && examples("Less like", less));
}

const examples = (text, ids) =>
  h("div", { class: "examples" }, h("h2", {}, text), h("div", { class: "thumbs" }, ids.split(",").map((id) => thumb(id, text))));

/** Maximum distance. Its end is the farthest that was found: there nothing is left out. */
function slider(within, changed) {
  const range = h("input", { type: "range", min: 0, max: 1, step: "any", value: 1 });
  const value = h("output", {}, "any");
  let most = 0;
  const shown = () => (Number(range.value) >= 1 ? "" : (Number(range.value) * most).toFixed(3));
  range.addEventListener("input", () => {
    value.textContent = shown() || "any";
    range.setAttribute("aria-valuetext", shown() || "any");
    changed();
  });
  const named = field("Max distance", range);
  named.firstChild.append(value);
  return {
    element: named,
    value: shown,
    fit(farthest) {
      const kept = shown() || within;
      most = farthest;
      if (kept && farthest) range.value = Math.min(1, Number(kept) / farthest);
      value.textContent = shown() || "any";
    },
  };
}

function ways() {
  return h(
    "div",
    { class: "welcome" },
    empty(
      "search",
      "Search with a picture",
      "Drop one anywhere on this page, paste one, or choose a file. It is compared with the gallery and not kept.",
      chooser("Choose a picture", ([chosen]) => searchBy(chosen), { accept: TAKEN, quiet: false, symbol: "search" }),
      h("a", { class: "button quiet", href: to("gallery") }, "Pick one from the gallery"),
    ),
    h(
      "p",
      { class: "hint" },
      "Several pictures say more than one: press ",
      icon("plus"),
      " on those you want more of, then turn some to ",
      icon("minus"),
      " in the tray below.",
    ),
  );
}
