// Keys of the API: made, shown once, listed and revoked.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, field, h, select } from "./dom.js";
import { ago, when } from "./format.js";
import { keyName } from "./http.js";
import { paged } from "./paged.js";
import { tried } from "./say.js";
import { secret } from "./secret.js";

const DAY = 24 * 60 * 60;
const SCOPES = [
  ["read", "read: look and search"],
  ["upload", "upload: only add pictures"],
  ["write", "write: also change and delete"],
  ["admin", "admin: everything"],
];
const LASTING = [["", "until it is revoked"], [DAY, "a day"], [7 * DAY, "a week"], [30 * DAY, "30 days"], [90 * DAY, "90 days"], [365 * DAY, "a year"]];
const COLUMNS = ["Name", "Scope", "Collections", "Imports from", "State", "Last used", ""];
const PAGE = 100;

const separated = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

export async function keys(signal) {
  const body = h("tbody", {});
  const made = h("div", {});
  const { more, load } = paged(body, (cursor) => api.keys({ limit: PAGE, cursor }, signal), (key) => row(key, load));
  await load();
  const head = h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "Revoke"))));
  return h(
    "section",
    { "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, "Keys"),
    h("p", { class: "faint" }, "A key says who asks, and what they may do. Of each only a hash is kept."),
    await maker(made, load, signal),
    made,
    h("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": "All keys" }, h("table", {}, h("thead", {}, head), body)),
    more,
  );
}

async function maker(made, load, signal) {
  const name = h("input", { type: "text", required: true, maxLength: 200, placeholder: "camera at the gate", autocomplete: "off" });
  const scope = select(SCOPES, "read");
  const { items } = await api.collections(signal);
  const collections = h("input", { type: "text", placeholder: "all, or: garden, meadow", list: "key-collections", autocomplete: "off", spellcheck: false });
  const roots = h("input", { type: "text", placeholder: "/data/garden, s3://photos/garden", autocomplete: "off", spellcheck: false });
  const lasts = select(LASTING, "");
  const form = h(
    "form",
    { class: "maker" },
    h("div", { class: "bar" }, field("Name", name), field("Scope", scope), field("Collections", collections), field("Valid", lasts), h("button", { class: "primary" }, "Make a key")),
    h("datalist", { id: "key-collections" }, items.map((one) => h("option", { value: one.name }))),
    h("details", {}, h("summary", {}, "Folders and buckets of the server"), field("May import from", roots, "Separated by commas; all or none. Left empty: all, and none where collections are named.")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = { name: name.value.trim(), scope: scope.value, collections: separated(collections.value) };
    if (roots.value.trim()) asked.import_roots = roots.value.trim() === "none" ? [] : separated(roots.value);
    if (lasts.value) asked.expires_in = Number(lasts.value);
    const key = await tried(() => api.makeKey(asked), "The key was made.");
    if (!key) return;
    form.reset();
    made.replaceChildren(secret(key.name, "Give it to whoever is to use it.", key.key, () => (made.replaceChildren(), name.focus())));
    made.querySelector("button").focus();
    await load();
  });
  return form;
}

/** valid, until a time, expired or revoked. */
function state({ revoked_at: revoked, expires_at: expires }) {
  if (revoked) return h("span", { class: "badge", title: when(revoked) }, "revoked");
  if (!expires) return h("span", { class: "badge", "data-status": "active" }, "valid");
  const over = new Date(expires) < new Date();
  return h("span", { class: "badge", title: when(expires), ...(!over && { "data-status": "active" }) }, over ? "expired" : `ends ${ago(expires)}`);
}

function row(key, load) {
  const { name, prefix, scope, collections, import_roots: roots, last_used_at: used, revoked_at: revoked } = key;
  const own = keyName()?.endsWith(`(${prefix})`);
  const revoke = async () => {
    const whose = own ? " This browser is signed in with it: you would be signed out." : "";
    if (!(await ask(`Revoke ${name}?`, `Whoever uses it is refused from then on, and it cannot be made valid again.${whose}`, "Revoke"))) return;
    if (await tried(() => api.revokeKey(key.id), "Revoked.")) await load();
  };
  return h(
    "tr",
    { class: revoked ? "past" : "" },
    h("td", { class: "name" }, name, h("code", { class: "faint" }, ` ${prefix}`), own && h("span", { class: "faint" }, " yours")),
    h("td", {}, scope),
    h("td", { class: "name" }, collections?.join(", ") ?? "all"),
    h("td", { class: "name" }, roots ? roots.join(", ") || "nothing" : "all"),
    h("td", {}, state(key)),
    h("td", {}, used ? h("time", { dateTime: used, title: when(used) }, ago(used)) : "never"),
    h("td", {}, !revoked && action("Revoke", revoke, { quiet: true, "aria-label": `Revoke ${name}` })),
  );
}
