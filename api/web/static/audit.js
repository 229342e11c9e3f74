// Who did what: the audit log, the newest first.

import * as api from "./api.js";
import { h, table, titled } from "./dom.js";
import { when } from "./format.js";
import { paged } from "./paged.js";
import { t } from "./text.js";

const PAGE = 50;
const COLUMNS = [t("when"), t("who"), t("what"), t("ofWhat"), t("answer")];

export async function events(signal) {
  const body = h("tbody", {});
  const { more, load } = paged(body, (cursor) => api.audit({ limit: PAGE, cursor }, signal), row);
  await load();
  return titled(
    "audit",
    t("auditLog"),
    h("p", { class: "faint" }, t("aboutAudit")),
    body.childElementCount ? table(t("events"), COLUMNS, body) : h("p", {}, t("nothingYet")),
    more,
  );
}

function row({ at, actor, action: what, target, status, address, details }) {
  const more = Object.entries(details).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n");
  return h(
    "tr",
    { title: more || null },
    h("td", {}, h("time", { dateTime: at }, when(at))),
    h("td", { class: "name" }, actor, address && h("span", { class: "faint" }, ` ${t("fromAddress", { address })}`)),
    h("td", {}, h("code", {}, what)),
    h("td", { class: "name" }, target),
    h("td", { class: status >= 400 ? "bad" : "" }, status ?? t("statusUnknown")),
  );
}
