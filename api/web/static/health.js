// Whether the service is ready, what it waits for, and who works.

import * as api from "./api.js";
import { h, table, titled } from "./dom.js";
import { ago, seconds, when } from "./format.js";
import { follow, POLL } from "./live.js";
import { t } from "./text.js";

const LOOK_MS = 5000;
const CHECKS = { database: t("database"), redis: t("redis"), model: t("activeModel"), worker: t("workers"), progress: t("progress") };

export async function health(signal) {
  const body = h("div", { class: "health" });
  const look = async () => body.replaceChildren(...drawn(await api.ready()));
  await look();
  follow(() => look().then(() => POLL), LOOK_MS, signal).catch(() => {}); // the next visit asks again
  return titled("health", t("health"), body);
}

function drawn({ ready, checks, reasons, model, workers }) {
  return [
    h("p", {}, ready ? t("serviceReady") : t("serviceNotReady"), model && ` ${model.domain ? t("searchesUseFor", { name: model.name, domain: model.domain }) : t("searchesUse", { name: model.name })}`),
    h("ul", { class: "checks" }, Object.entries(checks).map(([name, fine]) => h("li", { "data-fine": String(fine) }, CHECKS[name] ?? name, h("span", { class: "faint" }, fine ? ` ${t("fine")}` : ` ${t("missing")}`)))),
    ...reasons.map((reason) => h("p", { class: "trouble" }, reason)),
    h("h2", {}, t("workers")),
    table(
      t("workers"),
      [t("name"), t("queues"), t("device"), t("started"), t("idleFor"), t("broker")],
      h("tbody", {}, workers.map((worker) => h("tr", {}, h("th", { scope: "row" }, worker.name), h("td", {}, worker.queues.join(", ")), h("td", {}, worker.device), h("td", {}, h("time", { dateTime: worker.started_at, title: when(worker.started_at) }, ago(worker.started_at))), h("td", { class: "number" }, seconds(worker.idle_seconds)), h("td", { class: worker.broker_connected ? "" : "bad" }, worker.broker_connected ? t("connected") : t("silent"))))),
    ),
  ];
}
