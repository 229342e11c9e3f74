// Metadata as rows of a key and a value, and what of them has changed.

import { h, icon } from "./dom.js";

/** The value that a text stands for: JSON where it is JSON, else the text itself. */
export function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The text that is read as this value again. */
export const write = (value) => (typeof value === "string" && read(value) === value ? value : JSON.stringify(value));

/** {element, value()}: rows that can be changed, added and removed. value: the object that they say; throws what is wrong with them. */
export function rows(metadata) {
  const list = h("div", { class: "pairs", role: "group", "aria-label": "Metadata" });
  const row = (key = "", value = "") => {
    const name = h("input", { type: "text", value: key, placeholder: "key", "aria-label": "Key", spellcheck: false });
    const text = h("input", { type: "text", value, placeholder: "value", "aria-label": key ? `Value of ${key}` : "Value", spellcheck: false });
    name.addEventListener("input", () => text.setAttribute("aria-label", name.value ? `Value of ${name.value}` : "Value"));
    const out = h("button", { type: "button", class: "take", title: "Remove", "aria-label": `Remove ${key || "the row"}` }, icon("close"));
    const pair = h("div", { class: "pair" }, name, text, out);
    out.addEventListener("click", () => {
      const next = pair.nextElementSibling?.querySelector("input") ?? more;
      pair.remove();
      next.focus();
    });
    return pair;
  };
  const more = h("button", { type: "button", class: "quiet small" }, icon("plus"), h("span", {}, "Add metadata"));
  more.addEventListener("click", () => {
    const pair = row();
    list.append(pair);
    pair.querySelector("input").focus();
  });
  const set = (known) => list.replaceChildren(...Object.entries(known).map(([key, value]) => row(key, write(value))));
  set(metadata);
  const value = () => {
    const object = {};
    for (const pair of list.children) {
      const [key, text] = [...pair.querySelectorAll("input")].map((input) => input.value.trim());
      if (!key && !text) continue;
      if (!key) throw new Error(`“${text}” has no key.`);
      if (key in object) throw new Error(`The key “${key}” is there twice.`);
      object[key] = read(text);
    }
    return object;
  };
  return { element: h("div", { class: "metadata" }, list, more), value, set };
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** What makes the one object of the other: a JSON Merge Patch (RFC 7396), in which null removes a key. */
export function mergePatch(before, after) {
  const patch = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[key], after[key]];
    if (is === undefined) patch[key] = null;
    else if (isObject(was) && isObject(is)) patch[key] = mergePatch(was, is);
    else if (JSON.stringify(was) !== JSON.stringify(is)) patch[key] = is;
  }
  return patch;
}
