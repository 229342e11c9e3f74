// The list that a picture was opened from, so that its neighbors there are a key away.

let list = null; // {ids(), more(), address}

const LINKS = "a[href^='#/image/']";

/**
 * Links to pictures within the element belong to one list.
 * ids(): all that are known so far, in order; unless given, those of its links. more(): fetches what follows these.
 */
export function remember(element, ids = () => linked(element), more = async () => {}) {
  element.addEventListener("click", ({ target }) => {
    if (!target.closest(LINKS)) return;
    list = { ids, more, address: location.hash };
  });
}

const linked = (element) => [...new Set([...element.querySelectorAll(LINKS)].map((link) => link.getAttribute("href").split("/").at(-1)))];

/** Where a picture stands in the list it was opened from: {at, before, after, address}; null if it was opened by itself. */
export async function placeOf(id) {
  let ids = list?.ids() ?? [];
  const at = ids.indexOf(id);
  if (at < 0) return null;
  if (at === ids.length - 1) {
    await list.more();
    ids = list.ids();
  }
  return { at, before: ids[at - 1] ?? null, after: ids[at + 1] ?? null, address: list.address };
}

/** A picture is gone: so it is from the list. */
export function forgetPicture(id) {
  if (!list) return;
  const { ids } = list;
  list.ids = () => ids().filter((one) => one !== id);
}
