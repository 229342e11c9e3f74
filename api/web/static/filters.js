// Which pictures: by collection and by label.

import * as api from "./api.js";
import { field, h, select } from "./dom.js";
import { t } from "./text.js";

const labels = h("datalist", { id: "labels" });
document.body.append(labels);
const known = new Set();
const MOST = 300;

/** Remember the labels of pictures, to be offered where one is typed. */
export function seen(images) {
  for (const { label } of images) {
    if (!label || known.has(label) || known.size >= MOST) continue;
    known.add(label);
    labels.append(h("option", { value: label }));
  }
}

/** How many pictures each collection has. */
export async function sizes(signal) {
  const { items } = await api.collections(signal);
  const of = (name) => items.filter((one) => !name || one.name === name).reduce((sum, one) => sum + one.images, 0);
  return { items, of };
}

/** items: of `sizes`. */
export function collectionFilter(value, changed, { items }) {
  const options = [["", t("allCollections")], ...items.map(({ name }) => [name, name])];
  if (value && !items.some(({ name }) => name === value)) options.push([value, value]);
  return field(t("collection"), select(options, value, { onchange: ({ target }) => changed(target.value) }));
}

export const labelInput = (value, properties = {}) =>
  h("input", { type: "text", value, list: "labels", autocomplete: "off", maxLength: 200, ...properties });

export const labelFilter = (value, changed) =>
  field(t("label"), labelInput(value, { placeholder: t("any"), onchange: ({ target }) => changed(target.value.trim()) }));
