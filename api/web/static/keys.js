// Keys of the API: made, shown once, listed and revoked.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, field, h, select, table, titled, unseen } from "./dom.js";
import { ago, when } from "./format.js";
import { keyName } from "./http.js";
import { paged } from "./paged.js";
import { tried } from "./say.js";
import { showSecret } from "./secret.js";
import { t } from "./text.js";

const DAY = 24 * 60 * 60;
const SCOPES = [
  ["read", t("scopeRead")],
  ["upload", t("scopeUpload")],
  ["write", t("scopeWrite")],
  ["admin", t("scopeAdmin")],
];
const LASTING = [["", t("untilRevoked")], [DAY, t("aDay")], [7 * DAY, t("aWeek")], [30 * DAY, t("thirtyDays")], [90 * DAY, t("ninetyDays")], [365 * DAY, t("aYear")]];
const COLUMNS = [t("name"), t("scope"), t("collections"), t("importsFrom"), t("state"), t("lastUsed")];
const PAGE = 100;

const separated = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

export async function keys(signal) {
  const body = h("tbody", {});
  const made = h("div", {});
  const { more, load } = paged(body, (cursor) => api.keys({ limit: PAGE, cursor }, signal), (key) => row(key, load));
  await load();
  return titled(
    "keys",
    t("keys"),
    h("p", { class: "faint" }, t("aboutKeys")),
    await maker(made, load, signal),
    made,
    table(t("allKeys"), [...COLUMNS, unseen(t("revoke"))], body),
    more,
  );
}

async function maker(made, load, signal) {
  const name = h("input", { type: "text", required: true, maxLength: 200, placeholder: t("cameraAtTheGate"), autocomplete: "off" });
  const scope = select(SCOPES, "read");
  const { items } = await api.collections(signal);
  const collections = h("input", { type: "text", placeholder: t("allOrSome"), list: "key-collections", autocomplete: "off", spellcheck: false });
  const roots = h("input", { type: "text", placeholder: "s3://photos/garden, /data/garden", autocomplete: "off", spellcheck: false });
  const lasts = select(LASTING, "");
  const form = h(
    "form",
    { class: "maker" },
    h("div", { class: "bar" }, field(t("name"), name), field(t("scope"), scope), field(t("collections"), collections), field(t("valid"), lasts), h("button", { class: "primary" }, t("makeKey"))),
    h("datalist", { id: "key-collections" }, items.map((one) => h("option", { value: one.name }))),
    h("details", {}, h("summary", {}, t("foldersOfServer")), field(t("mayImportFrom"), roots, t("aboutRoots"))),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = { name: name.value.trim(), scope: scope.value, collections: separated(collections.value) };
    if (roots.value.trim()) asked.import_roots = roots.value.trim() === "none" ? [] : separated(roots.value);
    if (lasts.value) asked.expires_in = Number(lasts.value);
    const key = await tried(() => api.makeKey(asked), t("keyMade"));
    if (!key) return;
    form.reset();
    showSecret(made, key.name, t("giveKey"), key.key, name);
    await load();
  });
  return form;
}

/** valid, until a time, expired or revoked. */
function state({ revoked_at: revoked, expires_at: expires }) {
  if (revoked) return h("span", { class: "badge", title: when(revoked) }, t("isRevoked"));
  if (!expires) return h("span", { class: "badge", "data-status": "active" }, t("isValid"));
  const over = new Date(expires) < new Date();
  return h("span", { class: "badge", title: when(expires), ...(!over && { "data-status": "active" }) }, over ? t("expired") : t("ends", { when: ago(expires) }));
}

function row(key, load) {
  const { name, prefix, scope, collections, import_roots: roots, last_used_at: used, revoked_at: revoked } = key;
  const own = keyName()?.endsWith(`(${prefix})`);
  const revoke = async () => {
    const whose = own ? ` ${t("thisBrowsersKey")}` : "";
    if (!(await ask(t("revokeName", { name }), `${t("revokeText")}${whose}`, t("revoke")))) return;
    if (await tried(() => api.revokeKey(key.id), t("revoked"))) await load();
  };
  return h(
    "tr",
    { class: revoked ? "past" : "" },
    h("td", { class: "name" }, name, h("code", { class: "faint" }, ` ${prefix}`), own && h("span", { class: "faint" }, ` ${t("yours")}`)),
    h("td", {}, scope),
    h("td", { class: "name" }, collections?.join(", ") ?? t("all")),
    h("td", { class: "name" }, roots ? roots.join(", ") || t("nothing") : t("all")),
    h("td", {}, state(key)),
    h("td", {}, used ? h("time", { dateTime: used, title: when(used) }, ago(used)) : t("never")),
    h("td", {}, !revoked && action(t("revoke"), revoke, { quiet: true, "aria-label": t("revokeKey", { name }) })),
  );
}
