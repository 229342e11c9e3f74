// All pictures, newest first, a page at a time as one scrolls.

import * as api from "./api.js";
import { collectionFilter, labelFilter, seen, sizes } from "./filters.js";
import { nothingYet, nothingFound } from "./empty.js";
import { Grid } from "./grid.js";
import { counted } from "./format.js";
import { h, icon } from "./dom.js";
import { go, to } from "./router.js";
import { remember } from "./sequence.js";
import { tile } from "./tiles.js";

const FIRST = 80; // fills a large screen; the rest comes in larger pages as one scrolls
const PAGE = 200;
let kept = null; // what was last shown, for those who come back

export const title = "Gallery";

/** Forget what was shown: pictures came, went, or have other labels. */
export const forget = () => (kept = null);

export async function show({ main, heading, parameters, signal }) {
  const { collection = "", label = "" } = parameters;
  const filter = (changes) => go("gallery", { collection, label, ...changes });
  const counts = await sizes(signal);
  const total = h("span", { class: "faint" });
  const bar = h(
    "div",
    { class: "bar" },
    collectionFilter(collection, (value) => filter({ collection: value }), counts),
    labelFilter(label, (value) => filter({ label: value })),
    h("a", { class: "button primary end", href: to("add", { collection }) }, icon("plus"), h("span", {}, "Add pictures")),
  );
  heading.after(h("p", { class: "lead" }, total), bar);
  const known = kept?.collection === collection && kept.label === label;
  if (!known) kept = { collection, label, ...pages(collection, label) };
  const { grid, first } = kept;
  main.append(grid.element);
  grid.release();
  await first();
  if (signal.aborted) return;
  if (!grid.items.length) {
    bar.hidden = !collection && !label;
    main.append(label || collection ? nothingFound("gallery") : nothingYet(signal));
  }
  total.textContent = label ? `labelled ${label}` : counted(counts.of(collection), "picture");
  grid.attach(signal);
}

function pages(collection, label) {
  let cursor = null;
  let coming = null;
  let ended = false;
  const next = () => {
    if (ended) return coming;
    coming ??= api
      .images({ collection, label, cursor, limit: cursor ? PAGE : FIRST })
      .then((page) => {
        cursor = page.next_cursor;
        ended = !cursor;
        coming = null;
        seen(page.items);
        grid.append(page.items);
      })
      .catch(() => {
        coming = null; // asked for again at the next scroll
      });
    return coming;
  };
  const grid = new Grid((image) => tile(image, { note: image.status === "indexed" ? "" : image.status }), next);
  remember(grid.element, () => grid.items.map(({ image_id: id }) => id), next);
  return { grid, first: async () => grid.items.length || next() };
}
