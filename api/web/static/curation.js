// Which pictures to look at first: those most worth a label, those that do not belong, the few that stand for all.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { labelInput } from "./filters.js";
import { counted, number, percent } from "./format.js";
import { forget } from "./gallery.js";
import { to } from "./router.js";
import { tried } from "./say.js";

const FEW = 12;

export async function worthLabelling(signal) {
  const list = h("ul", { class: "doubts" });
  const lead = h("p", { class: "faint" });
  const load = async () => {
    const page = await api.labelNext({ limit: FEW }, signal);
    lead.textContent = `${counted(page.labelled, "compared picture")} labelled, ${number(page.unlabelled)} not. The label that would tell most comes first.`;
    list.replaceChildren(...page.items.map((item) => suggestion(item, left)));
  };
  // By the new labels others may come first: asked for anew when these are done.
  const left = () => !list.childElementCount && load();
  await load();
  return part("next", "Label next", lead, list);
}

function suggestion({ image_id: id, name, suggested_label: suggested, confidence, stands_for: many }, left) {
  const field = labelInput(suggested ?? "", { "aria-label": `Label of ${name ?? "this picture"}`, placeholder: "Label" });
  const item = h("li", {});
  const give = async () => {
    const label = field.value.trim();
    if (!label || !(await tried(() => api.change(id, { label }), `Labelled ${label}.`))) return;
    forget();
    const next = item.nextElementSibling;
    item.remove();
    next?.querySelector("input").focus();
    await left();
  };
  field.addEventListener("keydown", ({ key }) => key === "Enter" && give());
  item.append(
    picture(id, name),
    h("div", {}, h("p", {}, suggested ? `Perhaps ${suggested} (${percent(confidence)})` : "Near no labelled picture", h("span", { class: "faint" }, ` · tells of ${counted(many, "picture")}`)), field),
    action("Set label", give, { quiet: true }),
  );
  return item;
}

export async function outliers(signal) {
  const list = h("ul", { class: "doubts" });
  const more = h("p", { class: "load-more" });
  const lead = h("p", { class: "faint" });
  let cursor = null;
  const load = async () => {
    const page = await api.outliers({ limit: FEW, cursor }, signal);
    cursor = page.next_cursor;
    lead.textContent = `The least like anything else of ${counted(page.compared, "compared picture")} first.`;
    list.append(...page.items.map(({ image_id: id, name, label, assessment, times_usual: times }) => h("li", {}, picture(id, label ?? name), h("div", {}, h("p", {}, sentence(assessment)), h("p", { class: "faint" }, times === null ? "" : `${times.toFixed(1)} times as far from its nearest as is usual`)))));
    more.replaceChildren(cursor ? action("More", load, { quiet: true }) : "");
  };
  await load();
  return part("outliers", "Outliers", lead, list, more);
}

export async function representatives(signal) {
  const page = await api.representatives({ limit: FEW }, signal);
  const lead = h("p", { class: "faint" }, `${counted(page.items.length, "picture")} that stand best for all ${number(page.considered)}.`);
  const tiles = page.items.map(({ image_id: id, name, label, stands_for: many }) => h("li", {}, picture(id, label ?? name), h("div", {}, h("p", {}, label ?? ""), h("p", { class: "faint" }, `stands for ${number(many)}`))));
  return part("representatives", "Representatives", lead, h("ul", { class: "doubts" }, tiles));
}

const picture = (id, name) => h("a", { href: to(`image/${id}`) }, h("img", { src: api.thumbnail(id), alt: name ?? "picture without a label", loading: "lazy" }));
const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;
const part = (id, title, ...content) => h("section", { "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);
