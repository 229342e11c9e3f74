// Pictures collected to search with: more like these, less like those. Its tray is on every view.

import { thumbnail } from "./api.js";
import { h, icon } from "./dom.js";
import { go } from "./router.js";
import { say } from "./say.js";
import { t } from "./text.js";

const MOST = 100; // of each kind, as the API takes them

class Basket extends EventTarget {
  #images = new Map(); // {image, less} by id

  has(id) {
    return this.#images.has(id);
  }

  ids(less) {
    return [...this.#images].filter(([, entry]) => entry.less === less).map(([id]) => id);
  }

  entries() {
    return [...this.#images.values()];
  }

  /** Put a picture in, or take it out. Whether it is in then. */
  toggle(image) {
    if (!this.#images.delete(image.image_id)) {
      if (this.#images.size < MOST) this.#images.set(image.image_id, { image, less: false });
      else say(t("basketFull", { count: MOST }), { bad: true });
    }
    this.#changed();
    return this.has(image.image_id);
  }

  turn(id) {
    this.#images.get(id).less = !this.#images.get(id).less;
    this.#changed();
  }

  clear() {
    this.#images.clear();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export const basket = new Basket();

export function showTray(tray) {
  const draw = () => {
    const more = basket.ids(false);
    const less = basket.ids(true);
    tray.hidden = !more.length && !less.length;
    document.body.classList.toggle("with-tray", !tray.hidden);
    if (tray.hidden) return;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest("[data-id]"))?.dataset;
    tray.replaceChildren(
      h("ul", { class: "basket", "aria-label": t("collectedPictures") }, basket.entries().map(entry)),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "quiet", onclick: () => basket.clear() }, t("clear")),
        h(
          "button",
          { type: "button", class: "primary", disabled: !more.length, onclick: () => go("search", chosen(more, less)) },
          icon("search"),
          h("span", {}, t("search")),
        ),
      ),
    );
    if (focused) tray.querySelector(`[data-id="${focused.id}"] [data-act="${focused.act ?? "turn"}"]`)?.focus();
  };
  basket.addEventListener("change", draw);
  draw();
}

const chosen = (more, less) => ({ more: more.join(","), less: less.join(",") });

function entry({ image, less }) {
  const name = image.label ?? t("pictureWithoutLabel");
  return h(
    "li",
    { "data-id": image.image_id, class: less ? "less" : "more" },
    h(
      "button",
      {
        type: "button",
        class: "turn",
        "data-act": "turn",
        title: less ? t("lessPressForMore") : t("morePressForLess"),
        "aria-label": less ? t("lessLikeName", { name }) : t("moreLikeName", { name }),
        onclick: () => basket.turn(image.image_id),
      },
      h("img", { alt: "", src: thumbnail(image.image_id) }),
      h("span", { class: "sign" }, icon(less ? "minus" : "plus")),
    ),
    h(
      "button",
      { type: "button", class: "out", "aria-label": t("takeOut", { name }), onclick: () => basket.toggle(image) },
      icon("close"),
    ),
  );
}
