// Pictures taken out of the map: seen, searched with, given a label.

import { action, field, h } from "./dom.js";
import { labelInput } from "./filters.js";
import { forget } from "./gallery.js";
import { relabel } from "./relabel.js";
import { again, go } from "./router.js";
import { say } from "./say.js";
import { t } from "./text.js";
import { thumb } from "./tiles.js";

const SEEN = 24;
const MOST_EXAMPLES = 100; // as a search takes them

/** {element, set(indices), toggle(index)} of a map's data and plane. */
export function selection(data, plane) {
  let chosen = new Set();
  const element = h("section", { class: "selection", "aria-label": t("selectedPictures"), "aria-live": "polite", hidden: true });
  const set = (indices) => {
    chosen = new Set(indices);
    plane.select(chosen);
    draw();
  };
  const name = (index) => data.labels[data.label[index]] ?? t("pictureWithoutLabel");
  const draw = () => {
    element.hidden = !chosen.size;
    const ids = [...chosen].map((index) => data.ids[index]);
    const input = labelInput("", { placeholder: t("labelHere"), "aria-label": t("labelForSelected") });
    element.replaceChildren(
      h("h2", {}, t("picturesSelected", { count: ids.length })),
      h("div", { class: "thumbs" }, [...chosen].slice(0, SEEN).map((index) => thumb(data.ids[index], name(index)))),
      ids.length > SEEN && h("p", { class: "faint" }, t("andMore", { count: ids.length - SEEN })),
      h(
        "div",
        { class: "actions" },
        action(t("search"), () => go("search", { more: ids.slice(0, MOST_EXAMPLES).join(",") }), { symbol: "search" }),
        action(t("clear"), () => set([]), { quiet: true }),
      ),
      h("div", { class: "actions relabel" }, field(t("labelThemAll"), input), action(t("set"), () => label(ids, input.value.trim()), { quiet: true })),
    );
  };
  return {
    element,
    set,
    toggle: (index) => set(chosen.has(index) ? [...chosen].filter((one) => one !== index) : [...chosen, index]),
  };
}

async function label(ids, text) {
  if (!text) return say(t("typeLabelFirst"), { bad: true });
  await relabel(ids, text);
  forget();
  return again();
}
