// The points of a map: found by where they are, and moved apart where there are few.

const PER_CELL = 4; // points, on average
const ROUNDS = 120;

/** Points of the unit square in cells, so that those near a place are found without looking at all. */
export class Points {
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.cells = Math.max(1, Math.ceil(Math.sqrt(x.length / PER_CELL)));
    const { cells } = this;
    this.starts = new Int32Array(cells * cells + 1);
    for (let i = 0; i < x.length; i++) this.starts[this.#cell(x[i], y[i]) + 1]++;
    for (let cell = 0; cell < cells * cells; cell++) this.starts[cell + 1] += this.starts[cell];
    this.order = new Int32Array(x.length);
    const next = this.starts.slice();
    for (let i = 0; i < x.length; i++) this.order[next[this.#cell(x[i], y[i])]++] = i;
  }

  #at(value) {
    return Math.min(this.cells - 1, Math.max(0, Math.floor(value * this.cells)));
  }

  #cell(x, y) {
    return this.#at(y) * this.cells + this.#at(x);
  }

  /** Those within a rectangle. */
  within(left, low, right, high) {
    const found = [];
    const { x, y, order, starts, cells } = this;
    for (let row = this.#at(low); row <= this.#at(high); row++) {
      for (let at = starts[row * cells + this.#at(left)]; at < starts[row * cells + this.#at(right) + 1]; at++) {
        const i = order[at];
        if (x[i] >= left && x[i] <= right && y[i] >= low && y[i] <= high) found.push(i);
      }
    }
    return found;
  }

  /** The nearest to a place, null if none is within the reach. across, up: how long the axes are, in the unit of the reach. */
  nearest(x, y, across, up, reach = Infinity) {
    const most = Math.min(reach, 2 * (across + up) + Math.hypot(x * across, y * up));
    for (let radius = Math.min(most, Math.max(across, up) / this.cells); ; radius = Math.min(most, radius * 2)) {
      let [best, least] = [null, radius ** 2];
      for (const i of this.within(x - radius / across, y - radius / up, x + radius / across, y + radius / up)) {
        const way = ((this.x[i] - x) * across) ** 2 + ((this.y[i] - y) * up) ** 2;
        if (way <= least) [best, least] = [i, way];
      }
      if (best !== null || radius >= most) return best;
    }
  }
}

/** {x, y}: the points stretched to the whole unit square. */
export function stretched(x, y) {
  return { x: scaled(x), y: scaled(y) };
}

function scaled(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const span = high - low;
  return Float64Array.from(values, (value) => (span ? (value - low) / span : 0.5));
}

/** The same points, moved as little as it takes for squares of this size around them to lie beside each other. width, height: of the unit square. */
export function apart({ x, y }, side, width, height) {
  const [a, b] = [Float64Array.from(x, (value) => value * width), Float64Array.from(y, (value) => value * height)];
  for (let round = 0; round < ROUNDS; round++) {
    const cells = new Map();
    const key = (column, row) => column * 65_536 + row;
    let moved = false;
    for (let i = 0; i < a.length; i++) {
      const [column, row] = [Math.floor(a[i] / side), Math.floor(b[i] / side)];
      const cell = key(column, row);
      if (cells.has(cell)) cells.get(cell).push(i);
      else cells.set(cell, [i]);
    }
    for (let i = 0; i < a.length; i++) {
      const [column, row] = [Math.floor(a[i] / side), Math.floor(b[i] / side)];
      for (let c = column - 1; c <= column + 1; c++) {
        for (let r = row - 1; r <= row + 1; r++) {
          for (const j of cells.get(key(c, r)) ?? []) {
            if (j <= i) continue;
            const [dx, dy] = [a[j] - a[i], b[j] - b[i]];
            const [ox, oy] = [side - Math.abs(dx), side - Math.abs(dy)];
            if (ox <= 0.5 || oy <= 0.5) continue;
            moved = true;
            if (ox < oy) push(a, i, j, dx || 1, ox, width);
            else push(b, i, j, dy || 1, oy, height);
          }
        }
      }
    }
    if (!moved) break;
  }
  return { x: a.map((value) => value / width), y: b.map((value) => value / height) };
}

/** Each gives way by half; what stands at the edge by nothing, and the other by the whole. */
function push(values, i, j, way, by, most) {
  const [low, high] = way > 0 ? [i, j] : [j, i];
  const down = Math.min(values[low], Math.max(by / 2, by - (most - values[high])));
  values[low] -= down;
  values[high] = Math.min(most, values[high] + by - down);
}
