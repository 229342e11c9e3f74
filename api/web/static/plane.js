// Points on a canvas: moved, zoomed, opened, encircled. Pictures take the place of points where there is room for them.

import { Thumbnails } from "./thumbnails.js";

const MARGIN = 44;
const TOOLS = 56; // at the right, of which nothing should lie under
const NEAREST = 400; // times larger than all at once
const FEW = 700; // points in view from which on they are shown as pictures
const SMALLEST = 30;
const LARGEST = 104;
const TOUCH = 16; // pixels around a point that are the point
const STEP = 80;
const NAMED = 40; // labels whose names are written, as long as the map is seen from afar
const AFAR = 3;
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
    Object.assign(this, { canvas, data, colourOf, signal });
    this.thumbnails = new Thumbnails(() => this.draw());
    this.context = canvas.getContext("2d");
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
    const { canvas, context } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    const dense = devicePixelRatio;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const visible = this.inView();
    const colours = new Map();
    const colour = (label) => {
      if (!colours.has(label)) colours.set(label, style.getPropertyValue(this.colourOf(label)));
      return colours.get(label);
    };
    this.#paintDots(visible, colour, style.getPropertyValue("--mark"));
    if (visible.length <= FEW) this.#paintPictures(visible, colour, style, width * height);
    if (this.#scale < AFAR * this.whole) this.#paintNames(style);
    if (this.#loop) this.#paintLoop(style.getPropertyValue("--mark"));
    if (this.#keyed) this.#paintMiddle(style.getPropertyValue("--ink"), width, height);
  }

  #faded(index) {
    return this.#lit.size > 0 && !this.#lit.has(this.data.label[index]);
  }

  #paintDots(visible, colour, mark) {
    const { context } = this;
    const size = Math.min(10, Math.max(3, 3 * Math.sqrt(this.#scale / this.whole)));
    for (const index of visible) {
      const [x, y] = this.place(index);
      const chosen = this.#chosen.has(index);
      context.globalAlpha = this.#faded(index) ? 0.12 : 0.9;
      context.fillStyle = chosen ? mark : colour(this.data.label[index]);
      const side = chosen ? size + 3 : size;
      if (visible.length > 4000) {
        context.fillRect(x - side / 2, y - side / 2, side, side);
        continue;
      }
      context.beginPath();
      context.arc(x, y, side / 2, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  /** As large as there is room for all; where two would lie on each other, the second stays a point. */
  #paintPictures(visible, colour, style, area) {
    const { context } = this;
    const side = Math.min(LARGEST, Math.max(SMALLEST, 0.62 * Math.sqrt(area / Math.max(visible.length, 1))));
    const taken = new Map();
    const free = ([x, y]) => {
      const [column, row] = [Math.floor(x / side), Math.floor(y / side)];
      for (let i = column - 1; i <= column + 1; i++) {
        for (let j = row - 1; j <= row + 1; j++) {
          if (taken.get(`${i} ${j}`)?.some(([a, b]) => Math.abs(a - x) < side && Math.abs(b - y) < side)) return false;
        }
      }
      const cell = `${column} ${row}`;
      taken.set(cell, [...(taken.get(cell) ?? []), [x, y]]);
      return true;
    };
    for (const index of visible) {
      const point = this.place(index);
      if (!free(point)) continue;
      const image = this.thumbnails.get(this.data.ids[index]);
      const [left, top] = [point[0] - side / 2 + 1, point[1] - side / 2 + 1];
      const chosen = this.#chosen.has(index);
      context.globalAlpha = this.#faded(index) ? 0.15 : 1;
      context.fillStyle = chosen ? style.getPropertyValue("--mark") : colour(this.data.label[index]);
      context.beginPath();
      context.roundRect(left - 1, top - 1, side - 2, side - 2, 5);
      context.fill();
      if (image) this.#paintSquare(image, left + (chosen ? 2 : 1), top + (chosen ? 2 : 1), side - (chosen ? 8 : 6));
    }
    context.globalAlpha = 1;
  }

  /** Each label's name above its points, the most frequent first, none on another. */
  #paintNames(style) {
    const { context } = this;
    const taken = [];
    context.font = `600 13px ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = style.getPropertyValue("--raised");
    for (const [label, [x, y]] of this.#summits().entries()) {
      const [left, above] = this.#spot(x, y);
      const top = above - SMALLEST / 2 - 12;
      const half = context.measureText(this.data.labels[label]).width / 2 + 4;
      if (taken.some(([a, b, other]) => Math.abs(a - left) < half + other && Math.abs(b - top) < 18)) continue;
      taken.push([left, top, half]);
      context.globalAlpha = this.#lit.size && !this.#lit.has(label) ? 0.2 : 1;
      context.strokeText(this.data.labels[label], left, top);
      context.fillStyle = style.getPropertyValue("--ink");
      context.fillText(this.data.labels[label], left, top);
    }
    context.globalAlpha = 1;
  }

  /** Of each label that is named the median of its points across, and the upper end of nearly all. */
  #summits() {
    if (this.summits) return this.summits;
    const { x, y, label, labels } = this.data;
    const of = labels.slice(0, NAMED).map(() => [[], []]);
    label.forEach((at, index) => of[at] && (of[at][0].push(x[index]), of[at][1].push(y[index])));
    const quantile = (values, share) => values.sort((a, b) => a - b)[Math.floor(share * (values.length - 1))];
    this.summits = of.map(([across, upwards]) => [quantile(across, 0.5), quantile(upwards, 0.96)]);
    return this.summits;
  }

  #paintSquare(image, left, top, side) {
    const cut = Math.min(image.naturalWidth, image.naturalHeight);
    const [x, y] = [(image.naturalWidth - cut) / 2, (image.naturalHeight - cut) / 2];
    this.context.drawImage(image, x, y, cut, cut, left, top, side, side);
  }

  #paintLoop(colour) {
    const { context } = this;
    context.beginPath();
    for (const [x, y] of this.#loop) context.lineTo(x, y);
    context.closePath();
    context.strokeStyle = context.fillStyle = colour;
    context.globalAlpha = 0.14;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  #paintMiddle(colour, width, height) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(width / 2, height / 2, TOUCH, 0, 7);
    context.stroke();
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

  /** Those within a loop, by the even-odd rule. */
  #inside(loop) {
    const path = new Path2D();
    for (const [x, y] of loop) path.lineTo(x, y);
    path.closePath();
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    return this.#all().filter((index) => this.context.isPointInPath(path, ...this.place(index), "evenodd"));
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
