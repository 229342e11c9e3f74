// How much of what an exact search finds the index finds, as measured.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { ago, number, percent } from "./format.js";
import { say } from "./say.js";

export async function recall(signal) {
  const list = h("div", {});
  const draw = async () => {
    const { items } = await api.recalls(signal);
    list.replaceChildren(items.length ? measured(items) : h("p", { class: "faint" }, "Not measured yet."));
  };
  const measure = async () => {
    say("Measuring, for twenty seconds at most…");
    try {
      const found = await api.measureRecall({ k: 10, sample: 100 });
      say(`Recall ${percent(found.recall, 1)} over ${found.sample} searches.`);
      await draw();
    } catch (error) {
      say(error.message, { bad: true });
    }
  };
  await draw();
  return h(
    "section",
    { "aria-labelledby": "recall-title" },
    h("h2", { id: "recall-title" }, "Recall of the index"),
    h("p", { class: "faint" }, "Searches with stored vectors, through the index and exactly, are compared."),
    list,
    h("div", { class: "actions" }, action("Measure now", measure, { quiet: true })),
  );
}

function measured(items) {
  const cells = ({ created_at: at, k, sample, ef_search: ef, recall: share, index_ms: fast, exact_ms: slow, ef_for_99: best }) => [
    `Recall@${k}: ${percent(share, 1)}`,
    number(sample),
    number(ef),
    `${fast.toFixed(1)} ms`,
    `${slow.toFixed(1)} ms`,
    best === null ? "–" : number(best),
    ago(at),
  ];
  return h(
    "div",
    { class: "wide", tabIndex: 0, role: "region", "aria-label": "Measured recall" },
    h(
      "table",
      { class: "report" },
      h("thead", {}, h("tr", {}, ["Result", "Searches", "ef_search", "Index", "Exact", "ef for 99 %", "When"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, items.map((item) => h("tr", {}, cells(item).map((cell, at) => (at ? h("td", { class: "number" }, cell) : h("th", { scope: "row" }, cell)))))),
    ),
  );
}
