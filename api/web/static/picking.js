// Pictures of a grid that are picked to be searched with, labelled or deleted together.

import { action, h } from "./dom.js";
import { labelInput } from "./filters.js";
import { may } from "./http.js";
import { relabel } from "./relabel.js";
import { go } from "./router.js";
import { say } from "./say.js";
import { t } from "./text.js";
import { remove } from "./trash.js";

const MOST_EXAMPLES = 100; // as a search takes them

export class Picking {
  #picked = new Set(); // ids
  #last = null; // where a range begins

  /** grid: of images. relabelled(): some have other labels; removed(ids), restored(): they are gone, or there again. */
  constructor(grid, told) {
    this.grid = grid;
    this.told = told;
    this.element = h("section", { class: "picked", "aria-label": t("selectedPictures"), hidden: true });
    grid.element.addEventListener("click", (event) => this.#click(event));
    grid.element.addEventListener("keydown", (event) => this.#key(event));
  }

  get size() {
    return this.#picked.size;
  }

  /** A box to be ticked on a tile. */
  box(image) {
    const box = h("input", { type: "checkbox", class: "pick", "aria-label": t("selectName", { name: image.label ?? image.name ?? t("pictureWithoutLabel") }), checked: this.#picked.has(image.image_id) });
    box.dataset.id = image.image_id;
    return box;
  }

  clear() {
    this.#picked.clear();
    this.#last = null;
    this.#draw();
  }

  /** With a key held, or once something is picked, a click picks. */
  #click(event) {
    const tile = event.target.closest(".tile");
    const box = tile?.querySelector(".pick");
    if (!box || event.target.closest(".collect")) return;
    const ticked = event.target === box;
    const held = event.shiftKey || event.ctrlKey || event.metaKey;
    if (!ticked && !held) return;
    event.stopPropagation();
    if (!ticked) event.preventDefault();
    this.#pick(box.dataset.id, event.shiftKey);
    if (!ticked) box.focus({ preventScroll: true });
  }

  #key(event) {
    const box = event.target.closest(".tile")?.querySelector(".pick");
    if (!box) return;
    if (event.key === " " && event.target.matches("a")) this.#pick(box.dataset.id, event.shiftKey);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.#all();
    else if (event.key === "Escape" && this.size) this.clear();
    else if (event.key === "Delete" && this.size && may("write")) this.#remove();
    else return;
    event.preventDefault();
  }

  #pick(id, range) {
    const ids = this.grid.items.map((image) => image.image_id);
    const [from, to] = [ids.indexOf(this.#last), ids.indexOf(id)].sort((a, b) => a - b);
    if (range && from >= 0) for (const one of ids.slice(from, to + 1)) this.#picked.add(one);
    else if (!this.#picked.delete(id)) this.#picked.add(id);
    this.#last = id;
    this.#draw();
  }

  #all() {
    for (const { image_id: id } of this.grid.items) this.#picked.add(id);
    this.#draw();
  }

  #draw() {
    const { element, grid, size } = this;
    for (const box of grid.element.querySelectorAll(".pick")) box.checked = this.#picked.has(box.dataset.id);
    grid.element.classList.toggle("picking", size > 0);
    const had = element.contains(document.activeElement);
    element.hidden = !size;
    if (!size) {
      element.replaceChildren();
      if (had) grid.element.querySelector(".picture")?.focus();
      return;
    }
    if (element.firstChild) {
      element.firstChild.textContent = this.#count();
      return;
    }
    const label = labelInput("", { placeholder: t("labelHere"), "aria-label": t("labelForSelected") });
    const form = h("form", { class: "actions" }, label, h("button", { class: "quiet" }, t("labelThem")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#label(label.value.trim());
    });
    element.append(
      h("strong", { role: "status" }, this.#count()),
      action(t("search"), () => go("search", { more: this.ids().slice(0, MOST_EXAMPLES).join(",") }), { symbol: "search" }),
      ...(may("write") ? [form, action(t("delete"), () => this.#remove(), { quiet: true, symbol: "trash" })] : []),
      action(t("selectAllShown"), () => this.#all(), { quiet: true }),
      action(t("clear"), () => this.clear(), { quiet: true, symbol: "close" }),
    );
  }

  #count() {
    return t("picturesSelected", { count: this.size });
  }

  ids() {
    return [...this.#picked];
  }

  async #label(label) {
    if (!label) return say(t("typeLabelFirst"), { bad: true });
    const ids = this.ids();
    if (!(await relabel(ids, label))) return undefined;
    const changed = new Set(ids);
    for (const image of this.grid.items) if (changed.has(image.image_id)) image.label = label;
    this.clear();
    await this.told.relabelled();
    return this.#focus();
  }

  async #remove() {
    const ids = this.ids();
    if (!(await remove(ids, { question: t("deletePictures", { count: ids.length }), restored: this.told.restored }))) return;
    this.clear();
    await this.told.removed(ids);
    this.#focus();
  }

  #focus() {
    this.grid.element.querySelector(".picture")?.focus({ preventScroll: true });
  }
}
