// Model versions: which searches use, which stand by, and switching between them.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, h, titled } from "./dom.js";
import { ago, percent, when } from "./format.js";
import { tried } from "./say.js";
import { MODEL_STATES } from "./states.js";
import { t } from "./text.js";

export async function versions(signal, redraw) {
  const { items } = await api.models(signal);
  const act = (text, verb, said, sure = null) => (model) =>
    action(
      text,
      async () => {
        if (sure && !(await ask(t("actOn", { act: text, name: model.name }), sure, text))) return;
        if (await tried(() => api.steerModel(model.id, verb), said)) redraw();
      },
      { quiet: true, "aria-label": `${text} ${model.name}` },
    );
  const activate = act(t("activate"), "activate", t("activated"));
  const rollback = act(t("rollBack"), "rollback", t("rolledBack"), t("rollBackText"));
  const retire = act(t("retire"), "retire", t("retired"), t("retireText"));
  const ways = (model) => ({
    active: model.replaced ? [rollback(model)] : [],
    ready: [activate(model), retire(model)],
    registered: [retire(model)],
    backfilling: [],
    retired: [],
  })[model.state];
  return titled(
    "models",
    t("modelVersions"),
    h("ul", { class: "cards" }, items.map((model) => card(model, ways(model)))),
  );
}

function card(model, ways) {
  const { name, architecture, domain, dim, state, metrics, created_at: created } = model;
  const judged = Object.entries(metrics.validation ?? {}).slice(0, 3);
  return h(
    "li",
    { class: "card" },
    h("div", { class: "actions" }, h("h3", {}, name), h("span", { class: "badge", "data-status": state }, MODEL_STATES[state] ?? state)),
    h("p", { class: "faint" }, `${domain ? `${t("forDomain", { domain })} ` : ""}${t("vectorOf", { architecture, count: dim })} `, h("time", { dateTime: created, title: when(created) }, ago(created))),
    judged.length > 0 &&
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, [t("judgedOn"), "R@1", "MAP@R"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, judged.map(([set, one]) => h("tr", {}, h("th", { scope: "row" }, set), [one.r_at_1, one.map_at_r].map((value) => h("td", { class: "number" }, value === undefined ? "–" : percent(value, 1)))))),
      ),
    ways?.length > 0 && h("div", { class: "actions" }, ways),
  );
}
