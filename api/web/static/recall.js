// How much of what an exact search finds the index finds, as measured.

import * as api from "./api.js";
import { action, h, table, titled } from "./dom.js";
import { ago, decimal, number, percent } from "./format.js";
import { say } from "./say.js";
import { t } from "./text.js";

export async function recall(signal) {
  const list = h("div", {});
  const draw = async () => {
    const { items } = await api.recalls(signal);
    list.replaceChildren(items.length ? measured(items) : h("p", { class: "faint" }, t("notMeasuredYet")));
  };
  const measure = async () => {
    say(t("measuring"));
    try {
      const found = await api.measureRecall({ k: 10, sample: 100 });
      say(t("recallOver", { share: percent(found.recall, 1), count: found.sample }));
      await draw();
    } catch (error) {
      say(error.message, { bad: true });
    }
  };
  await draw();
  return titled(
    "recall",
    t("recallOfIndex"),
    h("p", { class: "faint" }, t("aboutRecall")),
    list,
    h("div", { class: "actions" }, action(t("measureNow"), measure, { quiet: true })),
  );
}

function measured(items) {
  const cells = ({ created_at: at, k, sample, ef_search: ef, recall: share, index_ms: fast, exact_ms: slow, ef_for_99: best }) => [
    `Recall@${k}: ${percent(share, 1)}`,
    number(sample),
    number(ef),
    `${decimal(fast, 1)} ms`,
    `${decimal(slow, 1)} ms`,
    best === null ? "–" : number(best),
    ago(at),
  ];
  const heads = [t("result"), t("searches"), "ef_search", t("index"), t("exact"), t("efFor99"), t("when")];
  const rows = items.map((item) => h("tr", {}, cells(item).map((cell, at) => (at ? h("td", { class: "number" }, cell) : h("th", { scope: "row" }, cell)))));
  return table(t("measuredRecall"), heads, h("tbody", {}, rows), { class: "report" });
}
