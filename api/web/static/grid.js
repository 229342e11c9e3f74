// A grid of any number of tiles, of which only those near the screen exist.

const GAP = 8;
const CAPTION = 28;
const NEAR = 1.5; // screens above and below that are kept ready

export class Grid {
  /** make(item) → li; more(): asked for the next page when the end comes near. */
  constructor(make, more, { least = 148 } = {}) {
    this.make = make;
    this.more = more;
    this.least = least;
    this.items = [];
    this.shown = new Map();
    this.columns = 0;
    this.element = document.createElement("ul");
    this.element.className = "grid";
  }

  /** Draw from now on, until the signal says stop. */
  attach(signal) {
    let asked = false;
    const soon = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        if (!signal.aborted) this.draw();
      });
    };
    addEventListener("scroll", soon, { passive: true, signal });
    const resized = new ResizeObserver(soon);
    resized.observe(this.element);
    signal.addEventListener("abort", () => resized.disconnect());
    this.draw();
  }

  append(items) {
    this.items.push(...items);
    if (this.element.isConnected) this.draw();
  }

  /** Others in place of all. */
  replace(items) {
    this.items = [];
    this.release();
    this.append(items);
  }

  /** The same, which have changed. */
  redraw() {
    this.release();
    this.draw();
  }

  draw() {
    const width = this.element.clientWidth;
    if (!width) return;
    const columns = Math.max(3, Math.floor((width + GAP) / (this.least + GAP)));
    const side = (width - GAP * (columns - 1)) / columns;
    const height = side + CAPTION + GAP;
    if (columns !== this.columns || side !== this.side) this.#place(columns, side, height);
    const top = -this.element.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor((top - NEAR * innerHeight) / height) * columns);
    const until = Math.min(this.items.length, Math.ceil((top + (1 + NEAR) * innerHeight) / height) * columns);
    this.#show(from, Math.max(from, until));
    this.element.style.height = `${Math.ceil(this.items.length / columns) * height}px`;
    if (until >= this.items.length) this.more();
  }

  #place(columns, side, height) {
    this.columns = columns;
    this.side = side;
    this.height = height;
    this.element.style.setProperty("--side", `${side}px`);
    for (const [index, tile] of this.shown) this.#position(index, tile);
  }

  #position(index, tile) {
    const left = (index % this.columns) * (this.side + GAP);
    tile.style.transform = `translate(${left}px, ${Math.floor(index / this.columns) * this.height}px)`;
  }

  /** Keep what has the focus, whatever is shown: it must not vanish under the keyboard. */
  #show(from, until) {
    for (const [index, tile] of this.shown) {
      if ((index < from || index >= until) && !tile.contains(document.activeElement)) {
        tile.remove();
        this.shown.delete(index);
      }
    }
    let behind = null; // in the order of the pictures, so that the keyboard goes from one to the next
    for (let index = until - 1; index >= from; index--) {
      let tile = this.shown.get(index);
      if (!tile) {
        tile = this.make(this.items[index]);
        tile.setAttribute("aria-setsize", "-1");
        tile.setAttribute("aria-posinset", String(index + 1));
        this.#position(index, tile);
        this.shown.set(index, tile);
        this.element.insertBefore(tile, behind);
      }
      behind = tile;
    }
  }

  /** Let go of all tiles, and keep what they show. */
  release() {
    this.shown.clear();
    this.element.replaceChildren();
  }
}
