// A picture as a tile: a link to all that is known of it, its label, and a way into the search basket.

import { thumbnail } from "./api.js";
import { basket } from "./basket.js";
import { h, icon } from "./dom.js";
import { to } from "./router.js";
import { t } from "./text.js";

/** image: {image_id, label}, and of a match the `box` that is framed. note: a short text at the right; word: {word, meaning} below. */
export function tile(image, { note = "", word = null, href = to(`image/${image.image_id}`), least = false } = {}) {
  const name = image.label ?? t("noLabel");
  const picture = h("img", { alt: "", loading: "lazy", decoding: "async", src: thumbnail(image.image_id) });
  picture.addEventListener("error", () => picture.replaceWith(h("span", { class: "blank", title: t("noThumbnail") }, icon("gallery"))), { once: true });
  const caption = h(
    "span",
    { class: "caption" },
    h("span", { class: image.label ? "label" : "label none" }, name),
    note && h("span", { class: "note" }, note),
  );
  const shown = image.box ? framed(picture, image.box) : picture;
  const link = h("a", { class: "picture", href }, shown, caption, word && h("span", { class: "word", title: word.meaning }, word.word));
  return h("li", { class: "tile" }, link, least ? null : collect(image));
}

/** A picture with a frame around a part of it: x, y, width, height in shares of the whole, of which the tile shows the central square. */
function framed(picture, [x, y, width, height]) {
  const frame = h("span", { class: "frame", hidden: true });
  picture.addEventListener("load", () => {
    const side = Math.min(picture.naturalWidth, picture.naturalHeight);
    const place = (from, share, length) => [from, from + share].map((at) => Math.min(1, Math.max(0, (at * length - (length - side) / 2) / side)));
    const [left, right] = place(x, width, picture.naturalWidth);
    const [top, bottom] = place(y, height, picture.naturalHeight);
    frame.style.inset = [top, 1 - right, 1 - bottom, left].map((share) => `${share * 100}%`).join(" ");
    frame.hidden = false;
  });
  return h("span", { class: "framed" }, picture, frame);
}

function collect(image) {
  const chosen = basket.has(image.image_id);
  const button = h("button", { type: "button", class: "collect" }, icon(chosen ? "check" : "plus"));
  const shown = (inside) => {
    button.setAttribute("aria-pressed", String(inside));
    button.setAttribute("aria-label", t("moreLikeThis", { name: image.label ?? t("pictureWithoutLabel") }));
    button.replaceChildren(icon(inside ? "check" : "plus"));
  };
  shown(chosen);
  button.addEventListener("click", () => shown(basket.toggle(image)));
  return button;
}

export const tiles = (images, /** @type {(image: any) => object} */ options = () => ({})) =>
  h(
    "ul",
    { class: "tiles" },
    images.map((image) => tile(image, options(image))),
  );

/** A small picture by id, as evidence: a link to what is known of it. */
export const thumb = (id, text) =>
  h(
    "a",
    { class: "thumb", href: to(`image/${id}`), title: text },
    h("img", { alt: text, loading: "lazy", decoding: "async", src: thumbnail(id) }),
  );
