// Which pictures to look at first: those most worth a label, those that do not belong, the few that stand for all.

import * as api from "./api.js";
import { action, h, titled } from "./dom.js";
import { labelInput } from "./filters.js";
import { decimal, percent } from "./format.js";
import { forget } from "./gallery.js";
import { to } from "./router.js";
import { tried } from "./say.js";
import { ASSESSMENTS } from "./states.js";
import { t } from "./text.js";

const FEW = 12;

export async function worthLabelling(signal) {
  const list = h("ul", { class: "doubts" });
  const lead = h("p", { class: "faint" });
  const load = async () => {
    const page = await api.labelNext({ limit: FEW }, signal);
    lead.textContent = page.items.length ? t("labelledOf", { count: page.labelled, others: page.unlabelled }) : t("allLabelled");
    list.replaceChildren(...page.items.map((item) => suggestion(item, left)));
  };
  // By the new labels others may come first: asked for anew when these are done.
  const left = () => !list.childElementCount && load();
  await load();
  return titled("next", t("labelNext"), lead, list);
}

function suggestion({ image_id: id, name, suggested_label: suggested, confidence, stands_for: many }, left) {
  const field = labelInput(suggested ?? "", { "aria-label": t("labelOf", { name: name ?? t("thisPicture") }), placeholder: t("label") });
  const item = h("li", {});
  const give = async () => {
    const label = field.value.trim();
    if (!label || !(await tried(() => api.change(id, { label }), t("labelledAs", { label })))) return;
    forget();
    const next = item.nextElementSibling;
    item.remove();
    next?.querySelector("input").focus();
    await left();
  };
  field.addEventListener("keydown", ({ key }) => key === "Enter" && give());
  item.append(
    picture(id, name),
    h("div", {}, h("p", {}, suggested ? t("perhaps", { label: suggested, share: percent(confidence) }) : t("nearNoLabelled"), h("span", { class: "faint" }, ` · ${t("tellsOf", { count: many })}`)), field),
    action(t("setLabel"), give, { quiet: true }),
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
    lead.textContent = t("leastLike", { count: page.compared });
    list.append(...page.items.map(({ image_id: id, name, label, assessment, times_usual: times }) => h("li", {}, picture(id, label ?? name), h("div", {}, h("p", {}, ASSESSMENTS[assessment] ?? assessment), h("p", { class: "faint" }, times === null ? "" : t("timesAsFar", { times: decimal(times, 1) }))))));
    more.replaceChildren(cursor ? action(t("more"), load, { quiet: true }) : "");
  };
  await load();
  return titled("outliers", t("outliers"), lead, list, more);
}

export async function representatives(signal) {
  const page = await api.representatives({ limit: FEW }, signal);
  const lead = h("p", { class: "faint" }, t("standFor", { count: page.items.length, total: page.considered }));
  const tiles = page.items.map(({ image_id: id, name, label, stands_for: many }) => h("li", {}, picture(id, label ?? name), h("div", {}, h("p", {}, label ?? ""), h("p", { class: "faint" }, t("standsFor", { count: many })))));
  return titled("representatives", t("representatives"), lead, h("ul", { class: "doubts" }, tiles));
}

const picture = (id, name) => h("a", { href: to(`image/${id}`) }, h("img", { src: api.thumbnail(id), alt: name ?? t("pictureWithoutLabel"), loading: "lazy" }));
