// The trash: what was deleted, to be restored or removed for ever.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { ended } from "./bulk.js";
import { action, h } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { ago, counted, size, when } from "./format.js";
import { forget } from "./gallery.js";
import { may, trashDays } from "./http.js";
import { follow } from "./live.js";
import { paged } from "./paged.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { bringBack } from "./trash.js";

export const title = "Trash";
const PAGE = 200;
const LOOK_MS = 2500;
const COLUMNS = ["Name", "Label", "Collection", "Size", "Deleted", "Gone for ever"];

export async function show({ main, heading, parameters, signal }) {
  const { collection = "" } = parameters;
  const chosen = new Set(); // ids
  const body = h("tbody", {});
  const none = empty("trash", "Nothing is in the trash", `What is deleted can be restored here for ${counted(trashDays(), "day")}.`, h("a", { class: "button quiet", href: to("gallery") }, "To the gallery"));
  const all = h("input", { type: "checkbox", "aria-label": "Select all shown" });
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
  const table = h("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": "Deleted pictures" }, h("table", {}, h("thead", {}, h("tr", {}, may("write") && h("th", { class: "tick" }, all), COLUMNS.map((name) => h("th", { scope: "col" }, name)))), body));
  const renew = async () => {
    chosen.clear();
    const items = await load();
    none.hidden = items.length > 0;
    table.hidden = acts.hidden = !items.length;
    changed();
  };
  const which = () => (chosen.size ? { ids: [...chosen] } : { filter: {} });
  const within = () => ({ ...which(), ...(collection && { collection }) });
  const counts = () => (chosen.size ? counted(chosen.size, "picture") : "all");
  const restore = async () => {
    if (!(await bringBack([within()]))) return;
    forget();
    await renew();
  };
  const purge = async () => {
    if (!(await ask("Remove for ever?", `${chosen.size ? counted(chosen.size, "picture") : "All pictures"} of the trash ${chosen.size === 1 ? "is" : "are"} removed with the bytes. This cannot be undone.`, "Remove"))) return;
    const gone = await tried(async () => ended([(await api.purge(within())).job_id], "Removing"));
    if (gone) say(`${counted(gone.done, "picture")} removed for ever.`);
    await renew();
  };
  const draw = () => {
    if (!may("write")) return;
    acts.replaceChildren(action(`Restore ${counts()}`, restore, { symbol: "undo" }), ...(may("admin") ? [action(`Remove ${counts()} for ever`, purge, { danger: true })] : []));
  };
  heading.after(
    h("p", { class: "lead" }, `What is deleted stays here for ${counted(trashDays(), "day")}.`),
    h("div", { class: "bar" }, collectionFilter(collection, (value) => go("trash", { collection: value }), await sizes(signal)), acts),
  );
  main.append(none, table, more);
  await renew();
  return () => follow(() => (chosen.size || table.contains(document.activeElement) ? undefined : renew()), LOOK_MS, signal);
}

function row(image, chosen, changed) {
  const { image_id: id, name, label, collection, size: bytes, trashed_at: at, purged_at: until } = image;
  const box = h("input", { type: "checkbox", value: id, "aria-label": `Select ${name ?? label ?? id}` });
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
    h("td", { class: "name" }, label ?? "no label"),
    h("td", {}, collection),
    h("td", { class: "number" }, size(bytes)),
    h("td", {}, h("time", { dateTime: at, title: when(at) }, ago(at))),
    h("td", {}, h("time", { dateTime: until, title: when(until) }, ago(until))),
  );
}
