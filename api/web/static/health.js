// Whether the service is ready, what it waits for, and who works.

import * as api from "./api.js";
import { h } from "./dom.js";
import { ago, seconds, when } from "./format.js";
import { follow, POLL } from "./live.js";

const LOOK_MS = 5000;
const CHECKS = { database: "Database", redis: "Redis", model: "Active model", worker: "Workers", progress: "Progress" };

export async function health(signal) {
  const body = h("div", { class: "health" });
  const look = async () => body.replaceChildren(...drawn(await api.ready()));
  await look();
  follow(() => look().then(() => POLL), LOOK_MS, signal).catch(() => {}); // the next visit asks again
  return h("section", { "aria-labelledby": "health-title" }, h("h2", { id: "health-title" }, "Health"), body);
}

function drawn({ ready, checks, reasons, model, workers }) {
  return [
    h("p", {}, ready ? "The service is ready." : "The service is not ready.", model && ` Searches use ${model.name}${model.domain ? `, for ${model.domain}` : ""}.`),
    h("ul", { class: "checks" }, Object.entries(checks).map(([name, fine]) => h("li", { "data-fine": String(fine) }, CHECKS[name] ?? name, h("span", { class: "faint" }, fine ? " fine" : " missing")))),
    ...reasons.map((reason) => h("p", { class: "trouble" }, reason)),
    h("h2", {}, "Workers"),
    h(
      "div",
      { class: "wide", tabIndex: 0, role: "region", "aria-label": "Workers" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["Name", "Queues", "Device", "Started", "Idle for", "Broker"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, workers.map((worker) => h("tr", {}, h("th", { scope: "row" }, worker.name), h("td", {}, worker.queues.join(", ")), h("td", {}, worker.device), h("td", {}, h("time", { dateTime: worker.started_at, title: when(worker.started_at) }, ago(worker.started_at))), h("td", { class: "number" }, seconds(worker.idle_seconds)), h("td", { class: worker.broker_connected ? "" : "bad" }, worker.broker_connected ? "connected" : "silent")))),
      ),
    ),
  ];
}
