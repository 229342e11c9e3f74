// Near-duplicates side by side, and keeping one of them.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { decimal, size } from "./format.js";
import { forget } from "./gallery.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { t } from "./text.js";
import { remove } from "./trash.js";

export const title = t("duplicates");
const PAGE = 20;

export async function show({ main, heading, parameters, signal }) {
  const { collection = "" } = parameters;
  const list = h("div", { class: "groups" });
  const more = h("p", { class: "load-more" });
  const lead = h("p", { class: "lead", role: "status" });
  heading.after(
    lead,
    h(
      "div",
      { class: "bar" },
      collectionFilter(collection, (value) => go("duplicates", { collection: value }), await sizes(signal)),
      action(t("compareNew"), () => compare(collection), { quiet: true, class: "quiet end" }),
    ),
  );
  main.append(list, more);
  let cursor = null;
  const load = async () => {
    const page = await api.duplicates({ collection, limit: PAGE, cursor }, signal);
    cursor = page.next_cursor;
    lead.textContent = page.waiting ? t("comparedBut", { count: page.compared, waiting: page.waiting }) : t("compared", { count: page.compared });
    list.append(...page.items.map(group));
    more.replaceChildren(cursor ? action(t("moreGroups"), load, { quiet: true }) : "");
    if (!list.childElementCount) list.append(nothing(page, collection));
  };
  await load();
}

function nothing({ compared, waiting }, collection) {
  if (!compared || waiting) {
    const text = t("aboutDuplicates");
    return empty("duplicates", compared ? t("noDuplicatesSoFar") : t("notComparedYet"), text, action(t("comparePictures"), () => compare(collection)));
  }
  return empty("duplicates", t("noDuplicates"), t("noDuplicatesText"), h("a", { class: "button quiet", href: to("gallery") }, t("backToTheGallery")));
}

async function compare(collection) {
  const begun = await tried(() => api.compare(collection));
  if (begun?.job_id) go(`job/${begun.job_id}`);
  else if (begun) say(t("allComparedBefore"));
}

let numbered = 0;

function group({ keep, images, size: many, largest_distance: largest }) {
  const name = `group-${keep}`;
  const section = h("section", { class: "group", "aria-label": t("groupOf", { number: ++numbered, count: many }) });
  const chosen = () => section.querySelector("input:checked").value;
  const cards = h(
    "ul",
    { class: "side-by-side" },
    images.map((image) => card(image, name, image.image_id === keep)),
  );
  const tidy = async () => {
    const kept = chosen();
    const gone = images.map(({ image_id: id }) => id).filter((id) => id !== kept);
    const text = t("groupDeleted", { count: gone.length });
    if (!(await remove(gone, { question: t("keepOneDeleteOthers"), text, restored: forget }))) return;
    forget();
    const next = section.nextElementSibling ?? section.previousElementSibling;
    section.remove();
    (next?.querySelector("input") ?? document.querySelector("h1")).focus();
  };
  section.append(
    cards,
    h("div", { class: "actions" }, h("span", { class: "faint" }, t("atMostApart", { count: many, distance: decimal(largest, 4) })), action(t("keepChosen"), tidy, { danger: true })),
  );
  return section;
}

function card({ image_id: id, name, label, width, height, size: bytes, sharpness, distance_to_keep: distance }, group, best) {
  const facts = [`${width} × ${height}`, size(bytes), sharpness !== null && t("sharpness", { value: sharpness.toPrecision(2) }), !best && t("distance", { value: decimal(distance, 4) })];
  return h(
    "li",
    {},
    h("a", { href: to(`image/${id}`) }, h("img", { src: api.thumbnail(id), alt: label ?? name ?? t("pictureWithoutLabel"), loading: "lazy" })),
    h("label", { class: "check" }, h("input", { type: "radio", name: group, value: id, checked: best }), h("span", {}, best ? t("keepSuggested") : t("keep"))),
    h("span", { class: "name" }, name ?? ""),
    h("span", { class: "faint" }, facts.filter(Boolean).join(" · ")),
  );
}
