// Where the names of labels are written on the map: near their points, on no point and on no other name.

const CELL = 6; // pixels
const HEIGHT = 20;
const FARTHEST = 4; // steps away from a label's points
const STEP = 22;

/** Which parts of the canvas are taken, to be asked of any rectangle at once. */
export class Taken {
  constructor(width, height) {
    this.columns = Math.ceil(width / CELL);
    this.rows = Math.ceil(height / CELL);
    this.width = width;
    this.height = height;
    this.cells = new Uint8Array(this.columns * this.rows);
    this.sums = null;
  }

  add(left, top, right, bottom) {
    const [from, to] = [Math.max(0, Math.floor(left / CELL)), Math.min(this.columns - 1, Math.floor(right / CELL))];
    for (let row = Math.max(0, Math.floor(top / CELL)); row <= Math.min(this.rows - 1, Math.floor(bottom / CELL)); row++) {
      if (to >= from) this.cells.fill(1, row * this.columns + from, row * this.columns + to + 1);
    }
    this.sums = null;
  }

  /** Whether nothing is there, and all of it is on the canvas. */
  free(left, top, right, bottom) {
    if (left < 0 || top < 0 || right > this.width || bottom > this.height) return false;
    this.sums ??= this.#summed();
    const width = this.columns + 1;
    const [c0, c1] = [Math.floor(left / CELL), Math.min(this.columns, Math.floor(right / CELL) + 1)];
    const [r0, r1] = [Math.floor(top / CELL), Math.min(this.rows, Math.floor(bottom / CELL) + 1)];
    return this.sums[r1 * width + c1] - this.sums[r0 * width + c1] - this.sums[r1 * width + c0] + this.sums[r0 * width + c0] === 0;
  }

  #summed() {
    const width = this.columns + 1;
    const sums = new Int32Array(width * (this.rows + 1));
    for (let row = 0; row < this.rows; row++) {
      let line = 0;
      for (let column = 0; column < this.columns; column++) {
        line += this.cells[row * this.columns + column];
        sums[(row + 1) * width + column + 1] = sums[row * width + column + 1] + line;
      }
    }
    return sums;
  }
}

/**
 * labels: [{width, left, top, right, bottom}], the most important first, each with the box that most of its points lie in.
 * Returns those that have room, each with x and y of its middle, and far: it wants a line to its points.
 */
export function placed(labels, taken) {
  const found = [];
  for (const label of labels) {
    const place = candidates(label).find(([x, y]) => taken.free(x - label.width / 2, y - HEIGHT / 2, x + label.width / 2, y + HEIGHT / 2));
    if (!place) continue;
    const [x, y, way] = place;
    taken.add(x - label.width / 2, y - HEIGHT / 2, x + label.width / 2, y + HEIGHT / 2);
    found.push({ ...label, x, y, far: way > 1 });
  }
  return found;
}

/** Above, below, beside the box, then farther away, and last of all within it. */
function candidates({ left, top, right, bottom, width }) {
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const all = [];
  for (let way = 0; way <= FARTHEST; way++) {
    const off = way * STEP;
    const [above, below] = [top - HEIGHT / 2 - 4 - off, bottom + HEIGHT / 2 + 4 + off];
    const [before, behind] = [left - width / 2 - 6 - off, right + width / 2 + 6 + off];
    for (const shift of [0, -0.3, 0.3]) {
      all.push([x + shift * width, above, way], [x + shift * width, below, way]);
    }
    all.push([before, y, way], [behind, y, way]);
  }
  for (let part = 0.1; part < 1; part += 0.1) all.push([x, top + part * (bottom - top), 0]);
  return all;
}
