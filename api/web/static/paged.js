// A list that comes in pages, the next behind a button.

import { action, h } from "./dom.js";
import { t } from "./text.js";

/**
 * Rows appended to `list` a page at a time. page(cursor): {items, next_cursor}; row(item): an element, or the promise of one.
 * Returns {more, load}: a place for the button, and what fetches the first page, also when the list is to start over.
 */
export function paged(list, page, row, text = t("older")) {
  const more = h("p", { class: "load-more" });
  const next = async (cursor) => {
    const { items, next_cursor: following } = await page(cursor);
    const rows = await Promise.all(items.map(row));
    if (!cursor) list.replaceChildren();
    list.append(...rows);
    more.replaceChildren(following ? action(text, () => next(following), { quiet: true }) : "");
    return items;
  };
  return { more, load: () => next(null) };
}
