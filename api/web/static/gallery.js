// All pictures, newest first, a page at a time as one scrolls; filtered by what they have in common.

import * as api from "./api.js";
import { h, icon } from "./dom.js";
import { nothingFound, nothingYet } from "./empty.js";
import { collectionFilter, labelFilter, seen, sizes } from "./filters.js";
import { Grid } from "./grid.js";
import { may, trashDays } from "./http.js";
import { follow } from "./live.js";
import { Picking } from "./picking.js";
import { again, go, to } from "./router.js";
import { remember } from "./sequence.js";
import { IMAGE_STATES } from "./states.js";
import { t } from "./text.js";
import { tile } from "./tiles.js";

const FIRST = 80; // fills a large screen; the rest comes in larger pages as one scrolls
const PAGE = 200;
const LOOK_MS = 2500;
const NEAR_TOP = 300; // pixels: from here, what is new is shown at once
let kept = null; // what was last shown, for those who come back
let open = false; // the facets

export const title = t("gallery");

/** Forget what was shown: pictures came, went, or have other labels. */
export const forget = () => (kept = null);

export async function show({ main, heading, parameters, signal }) {
  const { collection = "", label = "", where = "" } = parameters;
  const filtered = Boolean(label || where || open);
  const facets = filtered ? await import("./facets.js") : null; // not needed to see what there is
  const chosen = facets?.chosenOf(parameters) ?? [];
  const filter = facets?.filterOf(chosen) ?? null;
  const refilter = (changes) => go("gallery", { collection, label, where, ...changes });
  const counts = await sizes(signal);
  const lead = h("p", { class: "lead", role: "status" });
  const news = h("button", { type: "button", class: "chip news", hidden: true }, t("galleryChanged"));
  const toggle = h("button", { type: "button", class: "quiet", "aria-expanded": String(open) }, icon("admin"), h("span", {}, t("filters")));
  toggle.addEventListener("click", async () => {
    open = !open;
    toggle.setAttribute("aria-expanded", String(open));
    await drawFacets();
  });
  const bar = h(
    "div",
    { class: "bar" },
    collectionFilter(collection, (value) => refilter({ collection: value }), counts),
    labelFilter(label, (value) => refilter({ label: value })),
    toggle,
    trashDays() > 0 && h("a", { class: "button quiet", href: to("trash", { collection }) }, icon("trash"), h("span", {}, t("trash"))),
    may("write") && h("a", { class: "button primary end", href: to("add", { collection }) }, icon("plus"), h("span", {}, t("addPictures"))),
  );
  heading.after(lead, bar);
  const key = JSON.stringify([collection, filter]);
  if (kept?.key !== key) kept = Object.assign(pages(collection, filter), { key });
  const { grid, picking, first } = kept;
  const body = h("div", { class: "browse" }, grid.element);
  main.append(...(chosen.length ? [facets.chips(chosen, (left) => refilter(facets.parametersOf(left)))] : []), picking.element, news, body);
  grid.release();
  await first();
  if (signal.aborted) return undefined;
  if (!grid.items.length) {
    bar.hidden = !collection && !filter;
    body.append(collection || filter ? nothingFound("gallery") : nothingYet());
  }
  const count = () => (lead.textContent = t("pictures", { count: filter ? (kept?.total ?? grid.items.length) : counts.of(collection) }));
  count();
  kept.renewed = count;
  const drawFacets = async () => {
    body.querySelector(".facets")?.remove();
    body.classList.toggle("filtering", open);
    if (!open) return;
    const { chosenOf, panel, parametersOf } = await import("./facets.js");
    const keys = new Set(grid.items.flatMap(({ metadata }) => Object.keys(metadata)));
    for (const { by } of chosen) if (by.startsWith("metadata.")) keys.add(by.slice("metadata.".length));
    body.prepend(panel(chosenOf(parameters), { collection, keys }, (now) => refilter(parametersOf(now)), signal));
  };
  await drawFacets();
  grid.attach(signal);
  const renew = () => {
    forget();
    again();
  };
  news.addEventListener("click", renew);
  // What was shown before may be old by now, and pictures come while it is looked at.
  const look = async () => {
    if (!(await changed(grid, collection, filter, signal).catch(() => false)) || signal.aborted || picking.size) return;
    if (scrollY > NEAR_TOP || body.contains(document.activeElement)) news.hidden = false;
    else await kept?.renew();
    Object.assign(counts, await sizes(signal));
    if (!signal.aborted) count();
  };
  return async () => {
    await look();
    await follow(look, LOOK_MS, signal);
  };
}

const asked = (collection, filter) => ({ collection, filter: filter && JSON.stringify(filter) });

/** Whether the first pictures are others now, or have other labels or states. */
async function changed(grid, collection, filter, signal) {
  const { items } = await api.images({ ...asked(collection, filter), limit: FIRST }, signal);
  const state = (some) => JSON.stringify(some.slice(0, FIRST).map(({ image_id: id, label, status }) => [id, label, status]));
  return state(items) !== state(grid.items);
}

function pages(collection, filter) {
  let cursor = null;
  let coming = null;
  let ended = false;
  const known = { total: null, renewed: () => {} };
  const load = async () => {
    const page = await api.images({ ...asked(collection, filter), cursor, limit: cursor ? PAGE : FIRST, total: filter && !cursor ? true : null });
    known.total ??= page.total;
    cursor = page.next_cursor;
    ended = !cursor;
    seen(page.items);
    return page.items;
  };
  const next = () => {
    if (ended) return coming;
    coming ??= load()
      .then((items) => grid.append(items))
      .catch(() => {}) // asked for again at the next scroll
      .finally(() => (coming = null));
    return coming;
  };
  const grid = new Grid((image) => {
    const made = tile(image, { note: image.status === "indexed" ? "" : (IMAGE_STATES[image.status] ?? image.status) });
    made.append(picking.box(image));
    return made;
  }, next);
  const picking = new Picking(grid, { relabelled: () => (filter ? renew() : grid.redraw()), removed, restored: () => kept?.renew() });
  remember(grid.element, () => grid.items.map(({ image_id: id }) => id), next);
  async function removed(ids) {
    const gone = new Set(ids);
    known.total &&= known.total - gone.size;
    grid.replace(grid.items.filter(({ image_id: id }) => !gone.has(id)));
    if (grid.items.length) return known.renewed();
    forget();
    return again();
  }
  const renew = async () => {
    await coming;
    [cursor, ended, known.total] = [null, false, null];
    grid.replace(await load());
    known.renewed();
  };
  return Object.assign(known, { grid, picking, renew, first: async () => grid.items.length || next() });
}
