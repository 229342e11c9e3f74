// The trash: what was deleted, to be restored or removed for ever.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { ended } from "./bulk.js";
import { action, h, table } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { ago, size, when } from "./format.js";
import { forget } from "./gallery.js";
import { may, trashDays } from "./http.js";
import { follow } from "./live.js";
import { paged } from "./paged.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { t } from "./text.js";
import { bringBack } from "./trash.js";

export const title = t("trash");
const PAGE = 200;
const LOOK_MS = 2500;
const COLUMNS = [t("name"), t("label"), t("collection"), t("size"), t("deleted"), t("goneForEver")];

export async function show({ main, heading, parameters, signal }) {
  const { collection = "" } = parameters;
  const chosen = new Set(); // ids
  const days = t("days", { count: trashDays() });
  const body = h("tbody", {});
  const none = empty("trash", t("trashIsEmpty"), t("restorableFor", { days }), h("a", { class: "button quiet", href: to("gallery") }, t("toTheGallery")));
  const all = h("input", { type: "checkbox", "aria-label": t("selectAllShown") });
  const acts = h("div", { class: "actions" });
  const { more, load } = paged(body, (cursor) => api.trash({ collection, limit: PAGE, cursor }, signal), (image) => row(image, chosen, changed));
  const boxes = () => /** @type {HTMLInputElement[]} */ ([...body.querySelectorAll("input")]);
  const changed = () => {
    all.checked = chosen.size > 0 && chosen.size === body.childElementCount;
    all.indeterminate = chosen.size > 0 && !all.checked;
    draw();
  };
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    for (const { value } of boxes()) all.checked ? chosen.add(value) : chosen.delete(value);
    changed();
  });
  const heads = may("write") ? [h("th", { class: "tick" }, all), ...COLUMNS] : COLUMNS;
  const list = table(t("deletedPictures"), heads, body);
  const renew = async () => {
    chosen.clear();
    const items = await load();
    none.hidden = items.length > 0;
    list.hidden = acts.hidden = !items.length;
    changed();
  };
  const which = () => (chosen.size ? { ids: [...chosen] } : { filter: {} });
  const within = () => ({ ...which(), ...(collection && { collection }) });
  const restore = async () => {
    if (!(await bringBack([within()]))) return;
    forget();
    await renew();
  };
  const purge = async () => {
    if (!(await ask(t("removeForEver"), chosen.size ? t("purgeSome", { count: chosen.size }) : t("purgeAll"), t("remove")))) return;
    const gone = await tried(async () => ended([(await api.purge(within())).job_id], t("removing")));
    if (gone) say(t("purged", { count: gone.done }));
    await renew();
  };
  const draw = () => {
    if (!may("write")) return;
    acts.replaceChildren(action(chosen.size ? t("restoreSome", { count: chosen.size }) : t("restoreAll"), restore, { symbol: "undo" }), ...(may("admin") ? [action(chosen.size ? t("removeSome", { count: chosen.size }) : t("removeAll"), purge, { danger: true })] : []));
  };
  heading.after(
    h("p", { class: "lead" }, t("staysFor", { days })),
    h("div", { class: "bar" }, collectionFilter(collection, (value) => go("trash", { collection: value }), await sizes(signal)), acts),
  );
  main.append(none, list, more);
  await renew();
  return () => follow(() => (chosen.size || list.contains(document.activeElement) ? undefined : renew()), LOOK_MS, signal);
}

function row(image, chosen, changed) {
  const { image_id: id, name, label, collection, size: bytes, trashed_at: at, purged_at: until } = image;
  const box = h("input", { type: "checkbox", value: id, "aria-label": t("selectName", { name: name ?? label ?? id }) });
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(id);
    else chosen.delete(id);
    changed();
  });
  return h(
    "tr",
    {},
    may("write") && h("td", { class: "tick" }, box),
    h("td", { class: "name" }, name ?? h("code", {}, id)),
    h("td", { class: "name" }, label ?? t("noLabel")),
    h("td", {}, collection),
    h("td", { class: "number" }, size(bytes)),
    h("td", {}, h("time", { dateTime: at, title: when(at) }, ago(at))),
    h("td", {}, h("time", { dateTime: until, title: when(until) }, ago(until))),
  );
}
