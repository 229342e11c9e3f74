// Metadata as rows of a key and a value, and what of them has changed.

import { h, icon } from "./dom.js";
import { t } from "./text.js";

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
  const list = h("div", { class: "pairs", role: "group", "aria-label": t("metadata") });
  const row = (key = "", value = "") => {
    const name = h("input", { type: "text", value: key, placeholder: t("keyHere"), "aria-label": t("key"), spellcheck: false });
    const text = h("input", { type: "text", value, placeholder: t("valueHere"), "aria-label": key ? t("valueOf", { key }) : t("value"), spellcheck: false });
    name.addEventListener("input", () => text.setAttribute("aria-label", name.value ? t("valueOf", { key: name.value }) : t("value")));
    const out = h("button", { type: "button", class: "take", title: t("remove"), "aria-label": t("removeName", { name: key || t("theRow") }) }, icon("close"));
    const pair = h("div", { class: "pair" }, name, text, out);
    out.addEventListener("click", () => {
      const next = pair.nextElementSibling?.querySelector("input") ?? more;
      pair.remove();
      next.focus();
    });
    return pair;
  };
  const more = h("button", { type: "button", class: "quiet small" }, icon("plus"), h("span", {}, t("addMetadata")));
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
      if (!key) throw new Error(t("hasNoKey", { value: text }));
      if (key in object) throw new Error(t("keyTwice", { key }));
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
