// Which colour is which label; labels beyond the colours share one.

import { h, icon } from "./dom.js";
import { number } from "./format.js";
import { t } from "./text.js";

const COLOURS = 12;

/** The name of the custom property that colours a label's points; labels come the most frequent first. */
export const colourOf = (label) => (label >= 0 && label < COLOURS ? `--c${label}` : "--c-other");

/** A list of labels to highlight; highlight is given a set of them, select one whose pictures are wanted. */
export function legend({ labels, label }, highlight, select) {
  const counts = new Array(labels.length).fill(0);
  let none = 0;
  for (const index of label) index < 0 ? none++ : counts[index]++;
  const highlighted = new Set();
  const entry = (name, index, count) => {
    const button = h(
      "button",
      { type: "button", class: "entry", "aria-pressed": "false" },
      h("span", { class: `dot ${colourOf(index).slice(2)}` }),
      h("span", { class: "label" }, name),
      h("span", { class: "note" }, number(count)),
    );
    button.addEventListener("click", () => {
      if (!highlighted.delete(index)) highlighted.add(index);
      button.setAttribute("aria-pressed", String(highlighted.has(index)));
      highlight(highlighted);
    });
    const take = h("button", { type: "button", class: "take", title: t("selectName", { name }), "aria-label": t("selectName", { name }), onclick: () => select(index) }, icon("lasso"));
    return h("li", {}, button, take);
  };
  const entries = labels.map((name, index) => entry(name, index, counts[index]));
  if (none) entries.push(entry(t("noLabel"), -1, none));
  return h("section", { "aria-label": t("labels") }, h("h2", {}, t("labels")), h("ul", { class: "legend", tabIndex: 0, "aria-label": t("labelsToHighlight") }, entries));
}
