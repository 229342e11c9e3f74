// A picture of which people mark a part: by dragging over it, or with four fields.

import { action, field, h } from "./dom.js";
import { decimal } from "./format.js";
import { t } from "./text.js";

const CLICK = 6; // pixels within which a press marks nothing
const FIELDS = [[t("left"), 0], [t("top"), 1], [t("width"), 2], [t("height"), 3]];
const WHOLE = [0, 0, 1, 1];

const clamped = (value) => Math.min(1, Math.max(0, value));
const rounded = (box) => box.map((share) => Math.round(share * 1e4) / 1e4);

/** The part that an address names, [x, y, width, height] in shares of the picture; null: the whole. */
export function parse(text) {
  const box = text.split(",").map(Number);
  return box.length === 4 && box.every((share) => share >= 0 && share <= 1) && box[2] && box[3] ? box : null;
}

/** image: <img>; size: {width, height} where they are known before it is loaded. changed(box) is called with each part
    that is marked, and with null for the whole. */
export function markable(image, { box, size = null, changed }) {
  const mark = h("div", { class: "mark", hidden: true });
  const frame = h("div", { class: "markable" }, image, mark);
  const inputs = FIELDS.map(([, place]) => h("input", { type: "number", min: 0, max: 100, step: "any", placeholder: 100 * WHOLE[place], inputMode: "decimal" }));
  const clear = action(t("wholePicture"), () => commit(null), { quiet: true, hidden: true });
  const proportions = (of) => frame.style.setProperty("--ratio", of.width / of.height);

  const draw = ([x, y, width, height]) => {
    mark.hidden = false;
    Object.assign(mark.style, { left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * width}%`, height: `${100 * height}%` });
  };
  const show = () => {
    if (box) draw(box);
    else mark.hidden = true;
    clear.hidden = !box;
    inputs.forEach((input, place) => (input.value = box ? Math.round(1e4 * box[place]) / 100 : ""));
  };
  const commit = (marked) => {
    if (!marked && document.activeElement === clear) inputs[0].focus();
    box = marked;
    show();
    changed(box);
  };

  if (size) proportions(size);
  else image.addEventListener("load", () => proportions({ width: image.naturalWidth, height: image.naturalHeight }));
  image.draggable = false;
  drag(frame, draw, (marked) => (marked ? commit(rounded(marked)) : show()));
  for (const input of inputs) input.addEventListener("change", () => commit(filled(inputs)));
  show();
  return h(
    "div",
    { class: "part" },
    frame,
    h(
      "details",
      { open: Boolean(box) },
      h("summary", {}, t("searchByPart")),
      h("p", { class: "faint" }, t("dragAcross")),
      h("div", { class: "sides" }, FIELDS.map(([name], place) => field(name, inputs[place]))),
    ),
    clear,
  );
}

/** The part in the fields, whatever is left open reaching to the picture's edge; null: it is the whole. */
function filled(inputs) {
  const [left, top, width, height] = inputs.map((input) => (input.value === "" || !input.checkValidity() ? null : Number(input.value) / 100));
  const span = (start, length) => [start ?? 0, Math.min(length || 1, 1 - (start ?? 0))];
  const [[x, across], [y, down]] = [span(left, width), span(top, height)];
  const box = rounded([x, y, across, down]);
  return !across || !down || box.every((share, place) => share === WHOLE[place]) ? null : box;
}

/** Dragging over an element: draw(box) on the way, done(box) in the end; done(null) where it was a click or given up. */
function drag(frame, draw, done) {
  let from = null;
  const spot = (event) => {
    const { left, top, width, height } = frame.getBoundingClientRect();
    return [clamped((event.clientX - left) / width), clamped((event.clientY - top) / height)];
  };
  const marked = (event) => {
    const [x, y] = spot(event);
    return [Math.min(x, from.x), Math.min(y, from.y), Math.abs(x - from.x), Math.abs(y - from.y)];
  };
  frame.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button) return;
    const [x, y] = spot(event);
    from = { x, y };
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => from && event.isPrimary && draw(marked(event)));
  frame.addEventListener("pointerup", (event) => {
    if (!from || !event.isPrimary) return;
    const box = marked(event);
    const { width, height } = frame.getBoundingClientRect();
    from = null;
    done(Math.min(box[2] * width, box[3] * height) < CLICK ? null : box);
  });
  frame.addEventListener("pointercancel", () => {
    from = null;
    done(null);
  });
}
