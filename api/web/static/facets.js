// What the pictures have in common, counted, to be filtered by: values to press, and chips for those that were.

import * as api from "./api.js";
import { h, icon } from "./dom.js";
import { number } from "./format.js";
import { write } from "./metadata.js";
import { t } from "./text.js";

const SHOWN = 12;
const MOST = 100;
const MOST_KEYS = 12;
let pressed = null; // the value that was pressed last, which keeps the focus

/** Of an address's parameters: [{by, value, filter}]. `label` is short for one label. */
export function chosenOf({ label = "", where = "" }) {
  const chosen = label ? [{ by: "label", value: label, filter: { label: [label] } }] : [];
  try {
    for (const [by, value, filter] of where ? JSON.parse(where) : []) chosen.push({ by: String(by), value, filter });
  } catch {
    // an address that was cut off
  }
  return chosen;
}

/** The parameters that say what was chosen. */
export function parametersOf(chosen) {
  const labels = chosen.filter(({ by }) => by === "label");
  const single = labels.length === 1 ? labels[0] : null;
  const others = chosen.filter((one) => one !== single).map(({ by, value, filter }) => [by, value, filter]);
  return { label: single?.value ?? "", where: others.length ? JSON.stringify(others) : "" };
}

/** Pictures that have one of the values of each kind; null: all. without: a kind that is left out. */
export function filterOf(chosen, without = null) {
  const kinds = Map.groupBy(chosen.filter(({ by }) => by !== without), ({ by }) => by);
  const filters = [...kinds.values()].map((some) => (some.length > 1 ? { any: some.map(({ filter }) => filter) } : some[0].filter));
  return filters.length > 1 ? { all: filters } : (filters[0] ?? null);
}

const nameOf = (by) => ({ label: t("label"), "created_at.month": t("added") })[by] ?? by.replace(/^metadata\./, "");
const textOf = (value) => (value === null ? "null" : write(value));
const same = (one, other) => one.by === other.by && JSON.stringify(one.value) === JSON.stringify(other.value);

/** What was chosen, each to be taken away again; changed is given what is left. */
export function chips(chosen, changed) {
  const chip = (one) =>
    h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "chip", "aria-label": t("removeFilter", { name: nameOf(one.by), value: textOf(one.value) }), onclick: () => changed(chosen.filter((other) => other !== one)) },
        h("span", {}, h("span", { class: "faint" }, `${nameOf(one.by)} `), textOf(one.value)),
        icon("close"),
      ),
    );
  return h(
    "ul",
    { class: "chips", "aria-label": t("filters") },
    chosen.map(chip),
    chosen.length > 1 && h("li", {}, h("button", { type: "button", class: "chip plain", onclick: () => changed([]) }, t("clearAll"))),
  );
}

/** The values that there are; keys: of metadata. changed is given what is chosen then. */
export function panel(chosen, { collection, keys }, changed, signal) {
  const kinds = ["label", "created_at.month", ...[...keys].slice(0, MOST_KEYS).map((key) => `metadata.${key}`)];
  return h("section", { class: "facets", "aria-label": t("filterBy") }, kinds.map((by) => facet(by, chosen, collection, changed, signal)));
}

function facet(by, chosen, collection, changed, signal) {
  const list = h("ul", {}, h("li", { class: "faint" }, "…"));
  const section = h("section", { "aria-label": nameOf(by) }, h("h2", {}, nameOf(by)), list);
  const load = async (limit) => {
    const filter = filterOf(chosen, by);
    const found = await api.facets({ by, collection, limit, filter: filter && JSON.stringify(filter) }, signal);
    const mine = chosen.filter((one) => one.by === by);
    const gone = mine.filter((one) => !found.values.some(({ value }) => same({ by, value }, one)));
    const entries = [...gone.map((one) => ({ ...one, count: null })), ...found.values].map((one) => entry({ by, ...one }, mine, chosen, changed));
    if (!entries.length) return section.remove();
    const rest = found.further && limit < MOST && h("li", {}, h("button", { type: "button", class: "entry more", onclick: () => load(MOST) }, t("furtherValues", { count: found.further })));
    list.replaceChildren(...entries, ...(rest ? [rest] : []));
    const again = pressed && [...list.querySelectorAll("[data-facet]")].find(({ dataset }) => dataset.facet === pressed);
    if (!again) return undefined;
    pressed = null;
    return again.focus({ preventScroll: true });
  };
  load(SHOWN).catch((error) => error.name !== "AbortError" && list.replaceChildren(h("li", { class: "bad" }, error.message)));
  return section;
}

function entry({ by, value, count, filter }, mine, chosen, changed) {
  const own = mine.find((one) => same(one, { by, value }));
  const name = `${by}=${textOf(value)}`;
  const toggle = () => {
    pressed = name;
    changed(own ? chosen.filter((one) => one !== own) : [...chosen, { by, value, filter }]);
  };
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: "entry", "aria-pressed": String(Boolean(own)), "data-facet": name, onclick: toggle },
      h("span", { class: "label" }, textOf(value)),
      h("span", { class: "note" }, count === null ? "" : number(count)),
    ),
  );
}
