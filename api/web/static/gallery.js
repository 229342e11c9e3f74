// All pictures, newest first, a page at a time as one scrolls.

import * as api from "./api.js";
import { tile } from "./tiles.js";

export class Gallery {
  constructor(list, more, empty, open) {
    Object.assign(this, { list, more, empty, open, cursor: null });
    more.addEventListener("click", () => this.load());
    new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && this.load(), {
      rootMargin: "600px",
    }).observe(more);
  }

  async refresh() {
    this.cursor = null;
    this.list.replaceChildren();
    await this.load();
  }

  async load() {
    if (this.loading) return;
    this.loading = true;
    try {
      const page = await api.images(this.cursor);
      this.list.append(
        ...page.items.map((image) =>
          tile(image.links.thumbnail, { label: image.label ?? "", note: said(image.status), open: () => this.open(image) }),
        ),
      );
      this.cursor = page.next_cursor;
      this.more.hidden = !page.next_cursor;
      this.empty.hidden = this.list.childElementCount > 0;
    } finally {
      this.loading = false;
    }
  }
}

const said = (status) => (status === "indexed" ? "" : status);
