// Thumbnails for the map, fetched a few at a time; those not looked at for long are let go.

import { thumbnail } from "./api.js";

const KEPT = 1500;
const AT_A_TIME = 8;

export class Thumbnails {
  #known = new Map(); // by id, the longest unseen first: an image, or null while it is on its way
  #waiting = [];
  #coming = 0;

  /** came(): one more is there. */
  constructor(came) {
    this.came = came;
  }

  /** The picture's image, or null until it has come. */
  get(id) {
    const known = this.#known.get(id);
    if (known === undefined) {
      this.#waiting.push(id);
      this.#next();
    }
    this.#known.delete(id);
    this.#known.set(id, known ?? null);
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
    return known ?? null;
  }

  #next() {
    while (this.#coming < AT_A_TIME && this.#waiting.length) {
      const id = this.#waiting.pop(); // what was asked for last is what is looked at
      const image = new Image();
      this.#coming++;
      image.onload = image.onerror = () => {
        this.#coming--;
        if (image.naturalWidth && this.#known.has(id)) this.#known.set(id, image);
        this.came();
        this.#next();
      };
      image.src = thumbnail(id);
    }
  }
}
