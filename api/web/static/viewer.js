// A picture on a stage: fitted, or nearer by wheel, pinch, keys and buttons, and then moved.

import * as api from "./api.js";
import { h, icon } from "./dom.js";
import { percent } from "./format.js";
import { t } from "./text.js";

const STEP = 1.5;
const NEAREST = 8; // screen pixels for each of the picture's, at most
const PIXELS = 3; // from here on they are shown as squares
const MOVE = 80;

export class Viewer {
  #scale = 1; // screen pixels for each of the picture's
  #left = 0;
  #top = 0;
  #fitted = true;
  #pointers = new Map();

  /** image: {image_id, width, height}; name: for those who do not see it. */
  constructor(image, name, signal) {
    this.image = image;
    this.signal = signal;
    this.picture = h("img", { alt: name, draggable: false, decoding: "async" });
    this.state = h("p", { class: "state", role: "status" });
    this.stage = h("div", { class: "stage", "data-state": "loading" }, this.picture, this.state);
    this.nearness = h("output", { class: "number", "aria-label": t("magnification") });
    const tool = (symbol, text, act) => h("button", { type: "button", title: text, "aria-label": text, onclick: act }, icon(symbol));
    this.element = h(
      "figure",
      { class: "viewer" },
      this.stage,
      h(
        "div",
        { class: "tools flat", role: "toolbar", "aria-label": t("magnification") },
        tool("minus", t("zoomOut"), () => this.zoom(1 / STEP)),
        this.nearness,
        tool("plus", t("zoomIn"), () => this.zoom(STEP)),
        tool("fit", t("fit"), () => this.fit()),
        h("button", { type: "button", title: t("pixelForPixel"), onclick: () => this.actualSize() }, "1:1"),
      ),
    );
    this.stage.style.setProperty("--ratio", `${image.width} / ${image.height}`);
    this.stage.style.setProperty("--height", `${image.height}px`);
    this.#load();
    this.#listen();
  }

  /** The thumbnail stands in until the picture itself has come. */
  #load() {
    const { image_id: id } = this.image;
    const whole = new Image();
    const shown = (state, text = "") => {
      this.stage.dataset.state = state;
      this.state.textContent = text;
    };
    this.picture.src = api.thumbnail(id);
    this.picture.onerror = () => {}; // of the thumbnail: the picture itself tells
    shown("loading", t("loadingPicture"));
    whole.onload = () => {
      this.picture.src = whole.src;
      shown("ready");
    };
    whole.onerror = () => {
      shown("failed");
      const again = h("button", { type: "button", class: "quiet", onclick: () => this.#load() }, t("tryAgain"));
      this.state.replaceChildren(t("pictureNotLoaded"), again);
    };
    whole.src = api.file(id);
    if (whole.complete && whole.naturalWidth) whole.onload(null);
  }

  get #room() {
    return [this.stage.clientWidth, this.stage.clientHeight];
  }

  get #whole() {
    const [width, height] = this.#room;
    return Math.min(width / this.image.width, height / this.image.height, 1);
  }

  fit() {
    this.#fitted = true;
    this.#set(this.#whole, 0, 0);
  }

  actualSize() {
    this.zoom(1 / this.#scale);
  }

  get fitted() {
    return this.#fitted;
  }

  /** Nearer by a factor; at: the point of the stage that stays where it is, its middle unless given. */
  zoom(by, at = null) {
    const [width, height] = this.#room;
    const [x, y] = at ?? [width / 2, height / 2];
    const scale = Math.min(Math.max(this.#scale * by, this.#whole), Math.max(NEAREST, this.#whole));
    const factor = scale / this.#scale;
    this.#fitted = scale <= this.#whole;
    this.#set(scale, x - factor * (x - this.#left), y - factor * (y - this.#top));
  }

  move(across, down) {
    this.#set(this.#scale, this.#left + across, this.#top + down);
  }

  /** The picture is never moved off the stage; what is smaller than it stands in its middle. */
  #set(scale, left, top) {
    const within = (offset, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset)));
    const [width, height] = this.#room;
    if (!width) return;
    this.#scale = scale;
    this.#left = within(left, scale * this.image.width, width);
    this.#top = within(top, scale * this.image.height, height);
    const { style } = this.picture;
    style.width = `${scale * this.image.width}px`;
    style.height = `${scale * this.image.height}px`;
    style.transform = `translate(${this.#left}px, ${this.#top}px)`;
    style.imageRendering = scale >= PIXELS ? "pixelated" : "";
    this.stage.classList.toggle("near", !this.#fitted);
    this.nearness.textContent = percent(scale);
  }

  #listen() {
    const { stage, signal } = this;
    const on = (name, act, options = {}) => stage.addEventListener(name, act, { signal, ...options });
    const spot = ({ clientX, clientY }) => {
      const box = stage.getBoundingClientRect();
      return [clientX - box.left, clientY - box.top];
    };
    on("wheel", (event) => this.#wheel(event, spot(event)), { passive: false });
    on("dblclick", (event) => (this.#fitted ? this.zoom(Math.max(1 / this.#scale, 2), spot(event)) : this.fit()));
    on("pointerdown", (event) => {
      if (event.target.closest("button")) return;
      stage.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, spot(event));
    });
    on("pointermove", (event) => this.#drag(event, spot(event)));
    for (const name of ["pointerup", "pointercancel"]) on(name, ({ pointerId }) => this.#pointers.delete(pointerId));
    const sized = new ResizeObserver(() => (this.#fitted ? this.fit() : this.move(0, 0)));
    sized.observe(stage);
    signal.addEventListener("abort", () => sized.disconnect());
  }

  /** Where there is nothing to zoom, the wheel is the page's. */
  #wheel(event, at) {
    const outwards = event.deltaY > 0;
    const ours = event.ctrlKey || !this.#fitted || (!outwards && this.stage.getBoundingClientRect().top >= 0);
    if (!ours || (outwards && this.#fitted && !event.ctrlKey)) return;
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 300)), at);
  }

  #drag(event, at) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      this.zoom(apart(at) / apart(before), [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
    } else if (!this.#fitted) {
      this.move(at[0] - before[0], at[1] - before[1]);
    }
    this.#pointers.set(event.pointerId, at);
  }

  /** Whether the key was one of the viewer's. */
  key(name) {
    const moves = { ArrowLeft: [MOVE, 0], ArrowRight: [-MOVE, 0], ArrowUp: [0, MOVE], ArrowDown: [0, -MOVE] };
    const acts = { "+": () => this.zoom(STEP), "=": () => this.zoom(STEP), "-": () => this.zoom(1 / STEP), 0: () => this.fit(), 1: () => this.actualSize() };
    if (acts[name]) acts[name]();
    else if (moves[name] && !this.#fitted) this.move(...moves[name]);
    else return false;
    return true;
  }
}
