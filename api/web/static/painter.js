// What the map looks like: points, pictures where there is room for them, names, the lasso.

import { Thumbnails } from "./thumbnails.js";

const FEW = 700; // points in view up to which they are shown as pictures
const SMALLEST = 30;
const LARGEST = 104;
const NAMED = 40; // labels whose names are written, as long as the map is seen from afar
const AFAR = 3;
const MANY = 4000; // points from which on squares are quicker
const CIRCLE = 16; // around the middle, for those who use the keyboard

export class Painter {
  /** data: {ids, x, y, label, labels}; colourOf(label): a custom property; again(): asked for when pictures have come. */
  constructor(canvas, data, colourOf, again) {
    Object.assign(this, { canvas, data, colourOf, context: canvas.getContext("2d"), thumbnails: new Thumbnails(again) });
  }

  /** scene: {visible, nearness, lit, chosen, loop, middle, place(index), spot(x, y)}; nearness: 1 shows all at once. */
  paint(scene) {
    Object.assign(this, scene);
    const { canvas, context, visible } = this;
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
      if (!colours.has(label)) colours.set(label, style.getPropertyValue(this.colourOf(label)));
      return colours.get(label);
    };
    this.#paintDots(colour, style.getPropertyValue("--mark"));
    if (visible.length <= FEW) this.#paintPictures(colour, style, width * height);
    if (this.nearness < AFAR) this.#paintNames(style);
    if (this.loop) this.#paintLoop(style.getPropertyValue("--mark"));
    if (this.middle) this.#paintMiddle(style.getPropertyValue("--ink"), width, height);
  }

  #faded(index) {
    return this.lit.size > 0 && !this.lit.has(this.data.label[index]);
  }

  #paintDots(colour, mark) {
    const { context, visible } = this;
    const size = Math.min(10, Math.max(3, 3 * Math.sqrt(this.nearness)));
    for (const index of visible) {
      const [x, y] = this.place(index);
      const chosen = this.chosen.has(index);
      context.globalAlpha = this.#faded(index) ? 0.12 : 0.9;
      context.fillStyle = chosen ? mark : colour(this.data.label[index]);
      const side = chosen ? size + 3 : size;
      if (visible.length > MANY) {
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
  #paintPictures(colour, style, area) {
    const { context, visible } = this;
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
      const chosen = this.chosen.has(index);
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
      const [left, above] = this.spot(x, y);
      const top = above - SMALLEST / 2 - 12;
      const half = context.measureText(this.data.labels[label]).width / 2 + 4;
      if (taken.some(([a, b, other]) => Math.abs(a - left) < half + other && Math.abs(b - top) < 18)) continue;
      taken.push([left, top, half]);
      context.globalAlpha = this.lit.size && !this.lit.has(label) ? 0.2 : 1;
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
    for (const [x, y] of this.loop) context.lineTo(x, y);
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
