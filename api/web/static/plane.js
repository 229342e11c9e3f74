// A plane of points: moved, zoomed, opened, encircled.

import { Painter } from "./painter.js";

const MARGIN = 44;
const TOOLS = 56; // at the right, of which nothing should lie under
const NEAREST = 400; // times larger than all at once
const TOUCH = 16; // pixels around a point that are the point
const STEP = 80;
const STILL = 4; // pixels within which a press is a click

export class Plane extends EventTarget {
  #scale = 1;
  #stretch = 1; // of the x axis
  #left = 0;
  #top = 0;
  #lit = new Set();
  #chosen = new Set();
  #loop = null; // the lasso's way, while it is drawn
  #lassoing = false;
  #pointers = new Map();
  #asked = false;
  #keyed = false;

  /** data: {ids, x, y, label} as the API has them; colourOf(label): a custom property. */
  constructor(canvas, data, colourOf, signal) {
    super();
    Object.assign(this, { canvas, data, signal });
    this.painter = new Painter(canvas, data, colourOf, () => this.draw());
    this.#listen();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { x, y } = this.data;
    const span = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [1, 0]);
    const [left, right] = span(x);
    const [low, high] = span(y);
    // Distances say nothing, so the map may be stretched to the room there is.
    this.#scale = this.whole = (height - 2 * MARGIN) / (high - low || 1);
    this.#stretch = (width - MARGIN - TOOLS - MARGIN / 2) / (right - left || 1) / this.#scale;
    this.#left = (width - TOOLS + MARGIN / 2) / 2 - (this.#scale * this.#stretch * (left + right)) / 2;
    this.#top = height / 2 - this.#scale * (1 - (low + high) / 2);
    this.draw();
  }

  zoom(by, at = null) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [x, y] = at ?? [width / 2, height / 2];
    const scale = Math.min(Math.max(this.#scale * by, this.whole / 2), this.whole * NEAREST);
    const factor = scale / this.#scale;
    this.#left = x - factor * (x - this.#left);
    this.#top = y - factor * (y - this.#top);
    this.#scale = scale;
    this.draw();
  }

  move(across, down) {
    this.#left += across;
    this.#top += down;
    this.draw();
  }

  highlight(labels) {
    this.#lit = labels;
    this.draw();
  }

  select(indices) {
    this.#chosen = indices;
    this.draw();
  }

  /** Whether the next drag encircles points rather than moving the map. */
  toggleLasso() {
    this.#lassoing = !this.#lassoing;
    this.canvas.classList.toggle("lassoing", this.#lassoing);
    return this.#lassoing;
  }

  inView() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return this.#all().filter((index) => {
      const [x, y] = this.place(index);
      return x >= 0 && y >= 0 && x <= width && y <= height;
    });
  }

  /** Pixels of a point. */
  place(index) {
    return this.#spot(this.data.x[index], this.data.y[index]);
  }

  #spot(x, y) {
    return [this.#left + this.#scale * this.#stretch * x, this.#top + this.#scale * (1 - y)];
  }

  draw() {
    if (this.#asked || this.signal.aborted) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      if (!this.signal.aborted) this.#paint();
    });
  }

  #all() {
    return [...this.data.ids.keys()];
  }

  #paint() {
    this.painter.paint({
      visible: this.inView(),
      nearness: this.#scale / this.whole,
      lit: this.#lit,
      chosen: this.#chosen,
      loop: this.#loop,
      middle: this.#keyed,
      place: (index) => this.place(index),
      spot: (x, y) => this.#spot(x, y),
    });
  }

  /** The point at these pixels; within: how far off it may be. */
  #nearest([x, y], within) {
    let [best, least] = [null, within ** 2];
    for (const index of this.data.ids.keys()) {
      const [a, b] = this.place(index);
      const way = (a - x) ** 2 + (b - y) ** 2;
      if (way < least) [best, least] = [index, way];
    }
    return best;
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #listen() {
    const { canvas, signal } = this;
    const on = (name, act, options = {}) => canvas.addEventListener(name, act, { signal, ...options });
    const spot = (event) => [event.offsetX, event.offsetY];
    on("pointerdown", (event) => this.#press(event, spot(event)));
    on("pointermove", (event) => this.#drag(event, spot(event)));
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => this.#release(event, spot(event), name === "pointerup"));
    on(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 400), spot(event));
      },
      { passive: false },
    );
    on("keydown", (event) => this.#key(event));
    on("blur", () => this.#showMiddle(false));
    const sized = new ResizeObserver(() => (this.whole ? this.draw() : this.fit()));
    sized.observe(canvas);
    signal.addEventListener("abort", () => sized.disconnect());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
  }

  #press(event, at) {
    this.canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { at, from: at });
    if (this.#lassoing) this.#loop = [at];
  }

  #drag(event, at) {
    const held = this.#pointers.get(event.pointerId);
    if (!held) {
      if (event.pointerType === "mouse") this.#tell("here", this.#nearest(at, TOUCH));
      return;
    }
    if (this.#loop) {
      this.#loop.push(at);
      this.draw();
    } else if (this.#pointers.size === 2) {
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1].at;
      const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      this.zoom(apart(at) / apart(held.at), [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2]);
    } else {
      this.move(at[0] - held.at[0], at[1] - held.at[1]);
    }
    held.at = at;
  }

  #release(event, at, done) {
    const held = this.#pointers.get(event.pointerId);
    this.#pointers.delete(event.pointerId);
    if (!held) return;
    if (this.#loop) {
      const loop = this.#loop;
      this.#loop = null;
      this.toggleLasso();
      if (done) this.#tell("lasso", this.#inside(loop));
      this.draw();
    } else if (done && Math.hypot(at[0] - held.from[0], at[1] - held.from[1]) < STILL) {
      const index = this.#nearest(at, TOUCH);
      if (index !== null) this.#tell("open", index);
    }
  }

  /** Those within a loop. */
  #inside(loop) {
    const path = new Path2D();
    for (const [x, y] of loop) path.lineTo(x, y);
    path.closePath();
    return this.#all().filter((index) => this.painter.holds(path, this.place(index)));
  }

  #key(event) {
    const moves = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    const acts = { "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), 0: () => this.fit() };
    const middle = () => this.#nearest([this.canvas.clientWidth / 2, this.canvas.clientHeight / 2], Infinity);
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (acts[event.key]) acts[event.key]();
    else if (event.key === "Enter") this.#tell("open", middle());
    else if (event.key === " ") this.#tell("toggle", middle());
    else return;
    event.preventDefault();
    this.#showMiddle(true);
    this.#tell("here", middle());
  }

  #showMiddle(keyed) {
    if (this.#keyed === keyed) return;
    this.#keyed = keyed;
    this.draw();
  }
}
