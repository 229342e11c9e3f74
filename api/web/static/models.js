// Model versions: which searches use, which stand by, and switching between them.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, h } from "./dom.js";
import { ago, percent, when } from "./format.js";
import { tried } from "./say.js";

export async function versions(signal, redraw) {
  const { items } = await api.models(signal);
  const act = (text, verb, said, sure = null) => (model) =>
    action(
      text,
      async () => {
        if (sure && !(await ask(`${text} ${model.name}?`, sure, text))) return;
        if (await tried(() => api.steerModel(model.id, verb), said)) redraw();
      },
      { quiet: true, "aria-label": `${text} ${model.name}` },
    );
  const activate = act("Activate", "activate", "Searches use it from now on.");
  const rollback = act("Roll back", "rollback", "Searches use the version before.", "Searches go back to the version that this one replaced.");
  const retire = act("Retire", "retire", "Its vectors are being removed.", "Its vectors are removed. Its files stay, so it can be registered again.");
  const ways = (model) => ({
    active: model.replaced ? [rollback(model)] : [],
    ready: [activate(model), retire(model)],
    registered: [retire(model)],
    backfilling: [],
    retired: [],
  })[model.state];
  return h(
    "section",
    { "aria-labelledby": "models-title" },
    h("h2", { id: "models-title" }, "Model versions"),
    h("ul", { class: "cards" }, items.map((model) => card(model, ways(model)))),
  );
}

function card(model, ways) {
  const { name, architecture, domain, dim, state, metrics, created_at: created } = model;
  const judged = Object.entries(metrics.validation ?? {}).slice(0, 3);
  return h(
    "li",
    { class: "card" },
    h("div", { class: "actions" }, h("h3", {}, name), h("span", { class: "badge", "data-status": state }, state)),
    h("p", { class: "faint" }, `${domain ? `For ${domain}. ` : ""}${architecture}, ${dim} numbers a vector, registered `, h("time", { dateTime: created, title: when(created) }, ago(created))),
    judged.length > 0 &&
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["Judged on", "R@1", "MAP@R"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, judged.map(([set, one]) => h("tr", {}, h("th", { scope: "row" }, set), [one.r_at_1, one.map_at_r].map((value) => h("td", { class: "number" }, value === undefined ? "–" : percent(value, 1)))))),
      ),
    ways?.length > 0 && h("div", { class: "actions" }, ways),
  );
}
