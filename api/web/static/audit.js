// Who did what: the audit log, the newest first.

import * as api from "./api.js";
import { h } from "./dom.js";
import { when } from "./format.js";
import { paged } from "./paged.js";

const PAGE = 50;
const COLUMNS = ["When", "Who", "What", "Of what", "Answer"];

export async function events(signal) {
  const body = h("tbody", {});
  const { more, load } = paged(body, (cursor) => api.audit({ limit: PAGE, cursor }, signal), row);
  await load();
  const table = h("table", {}, h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name)))), body);
  return h(
    "section",
    { "aria-labelledby": "audit-title" },
    h("h2", { id: "audit-title" }, "Audit log"),
    h("p", { class: "faint" }, "What was done with an admin key, and what removes or hands out."),
    body.childElementCount ? h("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": "Events" }, table) : h("p", {}, "Nothing yet."),
    more,
  );
}

function row({ at, actor, action: what, target, status, address, details }) {
  const more = Object.entries(details).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n");
  return h(
    "tr",
    { title: more || null },
    h("td", {}, h("time", { dateTime: at }, when(at))),
    h("td", { class: "name" }, actor, address && h("span", { class: "faint" }, ` from ${address}`)),
    h("td", {}, h("code", {}, what)),
    h("td", { class: "name" }, target),
    h("td", { class: status >= 400 ? "bad" : "" }, status ?? "unknown"),
  );
}
