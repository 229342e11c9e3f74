// Webhooks: addresses that events are delivered to, what became of the deliveries, and delivering again.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, check, field, h, select } from "./dom.js";
import { collectionFilter } from "./filters.js";
import { ago, counted, when } from "./format.js";
import { ownCollection } from "./http.js";
import { paged } from "./paged.js";
import { say, tried } from "./say.js";
import { secret } from "./secret.js";

const KINDS = [["job.*", "Jobs"], ["image.*", "Images"], ["model.*", "Models"]];
const HOUR = 60 * 60 * 1000;
const SINCE = [[HOUR, "the last hour"], [24 * HOUR, "the last day"], [7 * 24 * HOUR, "the last week"]];
const COLUMNS = ["When", "Event", "State", "Tries", "Answer", ""];
const PAGE = 100;
const DELIVERIES = 20;
const opened = new Set(); // webhooks whose deliveries are shown, also after the list was drawn again

export async function webhooks(signal) {
  const list = h("ul", { class: "cards one" });
  const made = h("div", {});
  const none = h("p", { class: "faint" }, "There is none yet.");
  const { more, load } = paged(list, (cursor) => api.webhooks({ limit: PAGE, cursor }, signal), (hook) => card(hook, renew, signal));
  const renew = async () => (none.hidden = (await load()).length > 0);
  await renew();
  return h(
    "section",
    { "aria-labelledby": "webhooks-title" },
    h("h2", { id: "webhooks-title" }, "Webhooks"),
    h("p", { class: "faint" }, "Addresses that are called with each event, signed as Standard Webhooks specify, until they take it."),
    await maker(made, renew, signal),
    made,
    none,
    list,
    more,
  );
}

async function maker(made, renew, signal) {
  const address = h("input", { type: "url", required: true, placeholder: "https://hooks.example.com/umbel", autocomplete: "off", spellcheck: false });
  let collection = ownCollection() ?? "";
  const of = collectionFilter(collection, (value) => (collection = value), await api.collections(signal));
  const kinds = KINDS.map(([value, text]) => check(text, { value }));
  const form = h(
    "form",
    { class: "bar" },
    field("Address", address),
    of,
    h("fieldset", { class: "field" }, h("legend", {}, "Events (none ticked: all)"), h("div", { class: "actions" }, kinds)),
    h("button", { class: "primary" }, "Add a webhook"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const types = kinds.map((kind) => kind.querySelector("input")).filter(({ checked }) => checked).map(({ value }) => value);
    const hook = await tried(() => api.addWebhook({ url: address.value.trim(), types, ...(collection && { collection }) }), "The webhook was added.");
    if (!hook) return;
    form.reset();
    made.replaceChildren(secret("Its secret", "The receiver checks signatures with it.", hook.secret, () => (made.replaceChildren(), address.focus())));
    made.querySelector("button").focus();
    await renew();
  });
  return form;
}

function state({ enabled, disabled_reason: reason, failing_since: failing, failures }) {
  if (!enabled) return { word: "paused", status: "failed", why: reason };
  if (!failing) return { word: "enabled", status: "active", why: "" };
  return { word: "failing", status: "failed", why: `${counted(failures, "try", "tries")} failed since ${when(failing)}.` };
}

function card(hook, renew, signal) {
  const { id, url, types, collection, created_by: maker, created_at: at, enabled } = hook;
  const then = async (act, said) => (await tried(() => act().then(() => true), said)) && renew();
  const remove = async () => {
    if (await ask("Remove this webhook?", `Nothing is delivered to ${url} any more, and what is on its way is given up.`, "Remove")) await then(() => api.removeWebhook(id), "Removed.");
  };
  const since = select(SINCE, HOUR, { "aria-label": `Since when, for ${url}` });
  const replay = async () => {
    const from = new Date(Date.now() - Number(since.value)).toISOString();
    const answer = await tried(() => api.replayWebhook(id, from), ({ deliveries }) => (deliveries ? `${counted(deliveries, "event")} on the way.` : "Nothing was missed."));
    if (answer) await past.renew();
  };
  const past = deliveries(hook, signal);
  const { word, status, why } = state(hook);
  return h(
    "li",
    { class: "card" },
    h("div", { class: "actions" }, h("h3", {}, url), h("span", { class: "badge", "data-status": status }, word)),
    h("p", { class: "faint" }, `${types.join(", ") || "All events"}${collection ? ` of ${collection}` : ""}, added by ${maker} `, h("time", { dateTime: at, title: when(at) }, ago(at))),
    why && h("p", { class: "bad" }, why),
    h(
      "div",
      { class: "actions" },
      enabled ? action("Pause", () => then(() => api.steerWebhook(id, "disable"), "Nothing is delivered to it."), { quiet: true, "aria-label": `Pause ${url}` }) : action("Enable", () => then(() => api.steerWebhook(id, "enable"), "It is delivered to again."), { quiet: true, "aria-label": `Enable ${url}` }),
      action("Remove", remove, { quiet: true, symbol: "trash", "aria-label": `Remove ${url}` }),
      enabled && h("span", { class: "actions end" }, since, action("Deliver what was not", replay, { quiet: true, "aria-label": `Deliver what ${url} has not taken` })),
    ),
    past.element,
  );
}

/** The deliveries of a webhook, fetched when they are opened. */
function deliveries({ id, url }, signal) {
  const body = h("tbody", {});
  const again = (delivery) => async () => {
    if (await tried(() => api.replayDelivery(id, delivery).then(() => true), "On its way once more.")) await load();
  };
  const row = ({ id: delivery, type, state: became, attempts, status, error, created_at: at }) =>
    h(
      "tr",
      {},
      h("td", {}, h("time", { dateTime: at, title: when(at) }, ago(at))),
      h("td", {}, h("code", {}, type)),
      h("td", {}, h("span", { class: "badge", "data-status": became === "delivered" ? "active" : became }, became)),
      h("td", { class: "number" }, attempts),
      h("td", { class: error ? "name bad" : "name" }, error ?? status ?? ""),
      h("td", {}, action("Deliver again", again(delivery), { quiet: true, "aria-label": `Deliver ${type} again` })),
    );
  const { more, load } = paged(body, (cursor) => api.deliveries(id, { limit: DELIVERIES, cursor }, signal), row);
  const none = h("p", { class: "faint", hidden: true }, "Nothing has been delivered yet.");
  const table = h("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": `Deliveries to ${url}` }, h("table", {}, h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "Again"))))), body));
  const renew = async () => {
    const items = await load();
    table.hidden = !(none.hidden = items.length > 0);
  };
  const element = h("details", { open: opened.has(id) }, h("summary", {}, "Deliveries"), none, table, more);
  element.addEventListener("toggle", () => {
    if (element.open) opened.add(id);
    else opened.delete(id);
    if (element.open) renew().catch((error) => error.name !== "AbortError" && say(error.message, { bad: true }));
  });
  return { element, renew: () => (element.open ? renew() : undefined) };
}
