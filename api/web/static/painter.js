// What the map looks like: points, pictures where there is room for them, names, the lasso.

import { placed, Taken } from "./names.js";
import { Thumbnails } from "./thumbnails.js";

export const FEW = 700; // points in view up to which each is shown as a picture, where there is room
const SOME = 2500; // up to which some are
const SMALLEST = 24; // pixels of a picture's side
const LARGEST = 168;
const FILLED = 0.74; // of the side that each would have, were they laid out in rows
const OVERLAP = 0.8; // of a side: pictures that were moved apart may still be that near
const NAMED = 40; // labels whose names are written
const MANY = 4000; // points from which on their density is shown
const DOT = 2; // pixels a side, where it is
const STRAY = 1; // so many points on a dot are no reason not to write a name there
export const TOOLS = 56; // pixels at the right, under which nothing should lie
const TOOLS_HEIGHT = 176;
const CIRCLE = 16; // around the middle, for those who use the keyboard

/** How large so many pictures can be on this area, in pixels. */
export const sideOf = (count, area) => Math.min(LARGEST, Math.max(SMALLEST, FILLED * Math.sqrt(area / Math.max(count, 1))));

export class Painter {
  side = 0; // of the pictures that are shown

  /** data: {ids, label, labels}; colourOf(label): a custom property; again(): asked for when pictures have come. */
  constructor(canvas, data, colourOf, again) {
    this.canvas = canvas;
    this.data = data;
    this.colourOf = colourOf;
    this.context = canvas.getContext("2d");
    this.thumbnails = new Thumbnails(again);
    this.layer = document.createElement("canvas");
  }

  /** scene: {visible, nearness, most, highlighted, chosen, loop, middle, place(index)}; nearness: 1 shows all at once; most: side that pictures may have, 0: any. */
  paint(scene) {
    this.scene = scene;
    const { canvas, context } = this;
    const { visible } = scene;
    const { clientWidth: width, clientHeight: height } = canvas;
    const dense = devicePixelRatio;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    const colours = new Map();
    const colour = (label) => {
      const name = this.colourOf(label);
      if (!colours.has(name)) colours.set(name, style.getPropertyValue(name));
      return colours.get(name);
    };
    const taken = new Taken(width, height);
    taken.add(width - TOOLS, 0, width, TOOLS_HEIGHT);
    const mark = style.getPropertyValue("--mark");
    this.side = 0;
    if (visible.length > MANY) this.#paintDensity(colour, mark, taken);
    else this.#paintDots(colour, mark, taken);
    if (visible.length <= SOME) this.#paintPictures(colour, style, width * height, taken);
    this.#paintNames(style, taken);
    if (this.scene.loop) this.#paintLoop(mark);
    if (this.scene.middle) this.#paintMiddle(style.getPropertyValue("--ink"), width, height);
  }

  #faded(index) {
    return this.scene.highlighted.size > 0 && !this.scene.highlighted.has(this.data.label[index]);
  }

  #paintDots(colour, mark, taken) {
    const { context, scene } = this;
    const { visible } = scene;
    const size = Math.min(11, Math.max(4, 4 * Math.sqrt(this.scene.nearness)));
    for (const index of visible) {
      const [x, y] = this.scene.place(index);
      const chosen = this.scene.chosen.has(index);
      const radius = chosen ? size / 2 + 2 : size / 2;
      context.globalAlpha = this.#faded(index) ? 0.1 : 0.75;
      context.fillStyle = chosen ? mark : colour(this.data.label[index]);
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
      taken.add(x - radius, y - radius, x + radius, y + radius);
    }
    context.globalAlpha = 1;
  }

  /** Each dot in the color of the label that most of its points have, the stronger the more there are. */
  #paintDensity(colour, mark, taken) {
    const { context, scene, layer, data } = this;
    const { visible } = scene;
    const { width, height } = taken;
    const [columns, rows] = [Math.ceil(width / DOT), Math.ceil(height / DOT)];
    const counts = new Uint16Array(columns * rows);
    const label = new Int32Array(columns * rows);
    const lead = new Int32Array(columns * rows); // of the label over the others
    const marked = [];
    let most = 1;
    for (const index of visible) {
      const [x, y] = this.scene.place(index);
      const [column, row] = [Math.floor(x / DOT), Math.floor(y / DOT)];
      if (column < 0 || row < 0 || column >= columns || row >= rows) continue;
      if (this.scene.chosen.has(index)) marked.push([x, y]);
      const at = row * columns + column;
      const own = data.label[index];
      // Source: Boyer and Moore, "MJRTY", 1981: the majority in one pass.
      if (!lead[at]) label[at] = own;
      lead[at] += label[at] === own ? 1 : -1;
      if (this.#faded(index)) counts[at] ||= 1;
      else if (++counts[at] > most) most = counts[at];
    }
    const image = new ImageData(columns, rows);
    const rgb = new Map();
    const parts = (text) => {
      if (!rgb.has(text)) rgb.set(text, [1, 3, 5].map((from) => parseInt(text.trim().slice(from, from + 2), 16)));
      return rgb.get(text);
    };
    const span = Math.log(1 + most);
    for (let at = 0; at < counts.length; at++) {
      if (!counts[at]) continue;
      if (counts[at] > STRAY) taken.add(DOT * (at % columns), DOT * Math.floor(at / columns), DOT * (at % columns), DOT * Math.floor(at / columns));
      image.data.set(parts(colour(label[at])), 4 * at);
      const faded = this.scene.highlighted.size && !this.scene.highlighted.has(label[at]);
      image.data[4 * at + 3] = faded ? 22 : 120 + (135 * Math.log(1 + counts[at])) / span;
    }
    layer.width = columns;
    layer.height = rows;
    layer.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(layer, 0, 0, columns * DOT, rows * DOT);
    context.imageSmoothingEnabled = true;
    context.fillStyle = mark;
    for (const [x, y] of marked) context.fillRect(x - 2.5, y - 2.5, 5, 5);
  }

  /** As large as there is room for all; where two would lie on each other, the second stays a point. */
  #paintPictures(colour, style, area, taken) {
    const { context, scene } = this;
    const { visible } = scene;
    const side = (this.side = Math.min(sideOf(visible.length, area), this.scene.most || LARGEST));
    const cells = new Map();
    const key = (column, row) => column * 65_536 + row;
    const near = side * (this.scene.most ? OVERLAP : 1) - 1;
    const free = ([x, y]) => {
      const [column, row] = [Math.floor(x / side), Math.floor(y / side)];
      for (let i = column - 1; i <= column + 1; i++) {
        for (let j = row - 1; j <= row + 1; j++) {
          if (cells.get(key(i, j))?.some(([a, b]) => Math.abs(a - x) < near && Math.abs(b - y) < near)) return false;
        }
      }
      const cell = key(column, row);
      if (cells.has(cell)) cells.get(cell).push([x, y]);
      else cells.set(cell, [[x, y]]);
      return true;
    };
    for (const index of visible) {
      const point = this.scene.place(index);
      if (!free(point)) continue;
      const image = this.thumbnails.get(this.data.ids[index]);
      const [left, top] = [point[0] - side / 2, point[1] - side / 2];
      const chosen = this.scene.chosen.has(index);
      const edge = chosen ? 4 : 2;
      context.globalAlpha = this.#faded(index) ? 0.15 : 1;
      context.fillStyle = chosen ? style.getPropertyValue("--mark") : colour(this.data.label[index]);
      context.beginPath();
      context.roundRect(left, top, side, side, 5);
      context.fill();
      if (image) this.#paintSquare(image, left + edge, top + edge, side - 2 * edge);
      taken.add(left, top, left + side, top + side);
    }
    context.globalAlpha = 1;
  }

  /** Each label's name near its points, the most frequent first, on none of them and on no other name. */
  #paintNames(style, taken) {
    const { context, data } = this;
    context.font = `600 13px ${style.fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const wanted = this.#boxes().map(({ label, ...box }) => ({ ...box, label, width: context.measureText(data.labels[label]).width + 10 }));
    for (const { label, x, y, width, far, left, top, right, bottom } of placed(wanted, taken)) {
      context.globalAlpha = this.scene.highlighted.size && !this.scene.highlighted.has(label) ? 0.25 : 1;
      if (far) {
        context.strokeStyle = style.getPropertyValue("--edge");
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(x < left || x > right ? x + (Math.sign(left - x) * width) / 2 : x, y < top ? y + 9 : y > bottom ? y - 9 : y);
        context.lineTo(Math.min(right, Math.max(left, x)), Math.min(bottom, Math.max(top, y)));
        context.stroke();
      }
      context.strokeStyle = style.getPropertyValue("--raised");
      context.lineWidth = 3;
      context.strokeText(data.labels[label], x, y);
      context.fillStyle = style.getPropertyValue("--ink");
      context.fillText(data.labels[label], x, y);
    }
    context.globalAlpha = 1;
  }

  /** Of each label that is named and in view the box that most of its points lie in, in pixels. */
  #boxes() {
    const { label, labels } = this.data;
    const of = labels.slice(0, NAMED).map(() => [[], []]);
    for (const index of this.scene.visible) {
      const own = of[label[index]];
      if (!own) continue;
      const [x, y] = this.scene.place(index);
      own[0].push(x);
      own[1].push(y);
    }
    const half = this.side / 2;
    const span = (values) => {
      const sorted = Float64Array.from(values).sort();
      return [0.2, 0.8].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
    };
    return of.flatMap(([across, down], index) => {
      if (!across.length) return [];
      const [[left, right], [top, bottom]] = [span(across), span(down)];
      return [{ label: index, left: left - half, right: right + half, top: top - half, bottom: bottom + half }];
    });
  }

  #paintSquare(image, left, top, side) {
    const cut = Math.min(image.naturalWidth, image.naturalHeight);
    const [x, y] = [(image.naturalWidth - cut) / 2, (image.naturalHeight - cut) / 2];
    this.context.drawImage(image, x, y, cut, cut, left, top, side, side);
  }

  #paintLoop(colour) {
    const { context } = this;
    context.beginPath();
    for (const [x, y] of this.scene.loop) context.lineTo(x, y);
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
    context.arc(width / 2, height / 2, CIRCLE, 0, 7);
    context.stroke();
  }

  /** Whether a point of the canvas lies within a path, by the even-odd rule. */
  holds(path, [x, y]) {
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    return this.context.isPointInPath(path, x, y, "evenodd");
  }
}
