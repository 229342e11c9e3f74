// Near-duplicates side by side, and keeping one of them.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { counted, number, size } from "./format.js";
import { forget } from "./gallery.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { remove } from "./trash.js";

export const title = "Duplicates";
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
      action("Compare what is new", () => compare(collection), { quiet: true, class: "quiet end" }),
    ),
  );
  main.append(list, more);
  let cursor = null;
  const load = async () => {
    const page = await api.duplicates({ collection, limit: PAGE, cursor }, signal);
    cursor = page.next_cursor;
    lead.textContent = `${counted(page.compared, "picture")} compared${page.waiting ? `, ${number(page.waiting)} not yet` : ""}.`;
    list.append(...page.items.map(group));
    more.replaceChildren(cursor ? action("More groups", load, { quiet: true }) : "");
    if (!list.childElementCount) list.append(nothing(page, collection));
  };
  await load();
}

function nothing({ compared, waiting }, collection) {
  if (!compared || waiting) {
    const text = "Each picture is compared with its nearest, pixel by pixel. Groups of copies show up here.";
    return empty("duplicates", compared ? "No duplicates so far" : "Not compared yet", text, action("Compare the pictures", () => compare(collection)));
  }
  return empty("duplicates", "No duplicates", "All pictures were compared, and no two are nearly the same.", h("a", { class: "button quiet", href: to("gallery") }, "Back to the gallery"));
}

async function compare(collection) {
  const begun = await tried(() => api.compare(collection));
  if (begun?.job_id) go(`job/${begun.job_id}`);
  else if (begun) say("All pictures were compared before.");
}

let numbered = 0;

function group({ keep, images, size: many, largest_distance: largest }) {
  const name = `group-${keep}`;
  const section = h("section", { class: "group", "aria-label": `Group ${++numbered}, ${counted(many, "picture")}` });
  const chosen = () => section.querySelector("input:checked").value;
  const cards = h(
    "ul",
    { class: "side-by-side" },
    images.map((image) => card(image, name, image.image_id === keep)),
  );
  const tidy = async () => {
    const kept = chosen();
    const gone = images.map(({ image_id: id }) => id).filter((id) => id !== kept);
    const text = `${counted(gone.length, "picture")} of this group will be deleted.`;
    if (!(await remove(gone, { question: "Keep one, delete the others?", text, restored: forget }))) return;
    forget();
    const next = section.nextElementSibling ?? section.previousElementSibling;
    section.remove();
    (next?.querySelector("input") ?? document.querySelector("h1")).focus();
  };
  section.append(
    cards,
    h("div", { class: "actions" }, h("span", { class: "faint" }, `${counted(many, "picture")}, at most ${largest.toFixed(4)} apart`), action("Keep the chosen, delete the others", tidy, { danger: true })),
  );
  return section;
}

function card({ image_id: id, name, label, width, height, size: bytes, sharpness, distance_to_keep: distance }, group, best) {
  const facts = [`${width} × ${height}`, size(bytes), sharpness !== null && `sharpness ${sharpness.toPrecision(2)}`, !best && `distance ${distance.toFixed(4)}`];
  return h(
    "li",
    {},
    h("a", { href: to(`image/${id}`) }, h("img", { src: api.thumbnail(id), alt: label ?? name ?? "picture without a label", loading: "lazy" })),
    h("label", { class: "check" }, h("input", { type: "radio", name: group, value: id, checked: best }), h("span", {}, best ? "Keep (suggested)" : "Keep")),
    h("span", { class: "name" }, name ?? ""),
    h("span", { class: "faint" }, facts.filter(Boolean).join(" · ")),
  );
}
