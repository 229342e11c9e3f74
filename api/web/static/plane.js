// A plane of points: moved, zoomed, opened, encircled.

import { FEW, Painter, sideOf, TOOLS } from "./painter.js";
import { apart, Points, stretched } from "./points.js";

const MARGIN = 36;
const NEAREST = 400; // times larger than all at once
const TOUCH = 16; // pixels around a point that are the point
const STEP = 80;
const STILL = 4; // pixels within which a press is a click
const GAP = 6; // pixels between pictures

export class Plane extends EventTarget {
  #scale = 1; // 1: all fill the frame
  #left = 0;
  #top = 0;
  #frame = null; // {width, height, left, top, side} in pixels, in which all lie at the scale 1
  #highlighted = new Set();
  #chosen = new Set();
  #loop = null; // the lasso's way, while it is drawn
  #lassoing = false;
  #pointers = new Map();
  #asked = false;
  #keyed = false;

  /** data: {ids, x, y, label} as the API has them; colourOf(label): a custom property. */
  constructor(canvas, data, colourOf, signal) {
    super();
    this.canvas = canvas;
    this.data = data;
    this.signal = signal;
    this.painter = new Painter(canvas, data, colourOf, () => this.draw());
    this.#listen();
  }

  /** Distances say nothing, so the map is stretched to the room there is; few pictures are moved apart to fill it. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { length } = this.data.ids;
    const few = length <= FEW;
    const side = few ? sideOf(length, width * height) : 0;
    const margin = few ? side / 2 + GAP : MARGIN;
    const frame = { left: margin, top: margin, width: Math.max(1, width - margin - Math.max(TOOLS + side / 2, margin)), height: Math.max(1, height - 2 * margin), side };
    if (frame.width !== this.#frame?.width || frame.height !== this.#frame.height) {
      const all = stretched(this.data.x, this.data.y);
      this.points = new Points(...Object.values(few ? apart(all, side + GAP, frame.width, frame.height) : all));
    }
    this.#frame = frame;
    [this.#scale, this.#left, this.#top] = [1, frame.left, frame.top];
    this.draw();
  }

  zoom(by, at = null) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [x, y] = at ?? [width / 2, height / 2];
    const scale = Math.min(Math.max(this.#scale * by, 0.5), NEAREST);
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
    this.#highlighted = labels;
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

  /** Points on the screen, and (beyond: pixels) just outside of it. */
  inView(beyond = 0) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [left, high] = this.#unit([-beyond, -beyond]);
    const [right, low] = this.#unit([width + beyond, height + beyond]);
    return this.points.within(left, low, right, high);
  }

  get #across() {
    return this.#scale * this.#frame.width;
  }

  get #up() {
    return this.#scale * this.#frame.height;
  }

  /** Pixels of a point.
   * @returns {[number, number]} */
  place(index) {
    return [this.#left + this.#across * this.points.x[index], this.#top + this.#up * (1 - this.points.y[index])];
  }

  #unit([x, y]) {
    return [(x - this.#left) / this.#across, 1 - (y - this.#top) / this.#up];
  }

  draw() {
    if (this.#asked || this.signal.aborted) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      if (!this.signal.aborted) this.#paint();
    });
  }

  #paint() {
    if (!this.#frame) return;
    this.painter.paint({
      visible: this.inView(this.#frame.side),
      nearness: this.#scale,
      most: this.#frame.side * this.#scale,
      highlighted: this.#highlighted,
      chosen: this.#chosen,
      loop: this.#loop,
      middle: this.#keyed,
      place: (index) => this.place(index),
    });
  }

  /** The point at these pixels; within: how far off it may be. */
  #nearest(at, within) {
    return this.points.nearest(...this.#unit(at), this.#across, this.#up, within);
  }

  /** Pictures are touched all over. */
  get #touch() {
    return Math.max(TOUCH, this.painter.side / 2);
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
    on("pointerleave", () => this.#tell("here", null));
    on("keydown", (event) => this.#key(event));
    on("blur", () => this.#showMiddle(false));
    const sized = new ResizeObserver(() => (this.#frame && this.#scale !== 1 ? this.draw() : this.fit()));
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
      if (event.pointerType === "mouse") this.#tell("here", this.#nearest(at, this.#touch));
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
      const index = this.#nearest(at, this.#touch);
      if (index !== null) this.#tell("open", index);
    }
  }

  /** Those within a loop. */
  #inside(loop) {
    const path = new Path2D();
    for (const [x, y] of loop) path.lineTo(x, y);
    path.closePath();
    return this.inView().filter((index) => this.painter.holds(path, this.place(index)));
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
