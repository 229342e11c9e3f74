// Webhooks: addresses that events are delivered to, what became of the deliveries, and delivering again.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { action, check, field, h, select, table, titled, unseen } from "./dom.js";
import { collectionFilter } from "./filters.js";
import { ago, when } from "./format.js";
import { ownCollection } from "./http.js";
import { paged } from "./paged.js";
import { say, tried } from "./say.js";
import { showSecret } from "./secret.js";
import { DELIVERY_STATES } from "./states.js";
import { t } from "./text.js";

const KINDS = [["job.*", t("jobs")], ["image.*", t("images")], ["model.*", t("models")]];
const HOUR = 60 * 60 * 1000;
const SINCE = [[HOUR, t("lastHour")], [24 * HOUR, t("lastDay")], [7 * 24 * HOUR, t("lastWeek")]];
const COLUMNS = [t("when"), t("event"), t("state"), t("tries"), t("answer")];
const PAGE = 100;
const DELIVERIES = 20;
const opened = new Set(); // webhooks whose deliveries are shown, also after the list was drawn again

export async function webhooks(signal) {
  const list = h("ul", { class: "cards one" });
  const made = h("div", {});
  const none = h("p", { class: "faint" }, t("noWebhookYet"));
  const { more, load } = paged(list, (cursor) => api.webhooks({ limit: PAGE, cursor }, signal), (hook) => card(hook, renew, signal));
  const renew = async () => (none.hidden = (await load()).length > 0);
  await renew();
  return titled(
    "webhooks",
    t("webhooks"),
    h("p", { class: "faint" }, t("aboutWebhooks")),
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
    field(t("address"), address),
    of,
    h("fieldset", { class: "field" }, h("legend", {}, t("eventsNoneAll")), h("div", { class: "actions" }, kinds)),
    h("button", { class: "primary" }, t("addWebhook")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const types = kinds.map((kind) => kind.querySelector("input")).filter(({ checked }) => checked).map(({ value }) => value);
    const hook = await tried(() => api.addWebhook({ url: address.value.trim(), types, ...(collection && { collection }) }), t("webhookAdded"));
    if (!hook) return;
    form.reset();
    showSecret(made, t("itsSecret"), t("aboutSecret"), hook.secret, address);
    await renew();
  });
  return form;
}

function state({ enabled, disabled_reason: reason, failing_since: failing, failures }) {
  if (!enabled) return { word: t("paused"), status: "failed", why: reason };
  if (!failing) return { word: t("enabled"), status: "active", why: "" };
  return { word: t("failing"), status: "failed", why: t("failedSince", { count: failures, when: when(failing) }) };
}

function card(hook, renew, signal) {
  const { id, url, types, collection, created_by: maker, created_at: at, enabled } = hook;
  const then = async (act, said) => (await tried(() => act().then(() => true), said)) && renew();
  const remove = async () => {
    if (await ask(t("removeWebhook"), t("removeWebhookText", { url }), t("remove"))) await then(() => api.removeWebhook(id), t("removed"));
  };
  const since = select(SINCE, HOUR, { "aria-label": t("sinceWhen", { url }) });
  const replay = async () => {
    const from = new Date(Date.now() - Number(since.value)).toISOString();
    const answer = await tried(() => api.replayWebhook(id, from), ({ deliveries }) => (deliveries ? t("eventsOnTheWay", { count: deliveries }) : t("nothingMissed")));
    if (answer) await past.renew();
  };
  const past = deliveries(hook, signal);
  const { word, status, why } = state(hook);
  return h(
    "li",
    { class: "card" },
    h("div", { class: "actions" }, h("h3", {}, url), h("span", { class: "badge", "data-status": status }, word)),
    h("p", { class: "faint" }, `${t(collection ? "eventsOfAddedBy" : "eventsAddedBy", { events: types.join(", ") || t("allEvents"), collection, maker })} `, h("time", { dateTime: at, title: when(at) }, ago(at))),
    why && h("p", { class: "bad" }, why),
    h(
      "div",
      { class: "actions" },
      enabled ? action(t("pause"), () => then(() => api.steerWebhook(id, "disable"), t("webhookPaused")), { quiet: true, "aria-label": t("pauseUrl", { url }) }) : action(t("enable"), () => then(() => api.steerWebhook(id, "enable"), t("webhookEnabled")), { quiet: true, "aria-label": t("enableUrl", { url }) }),
      action(t("remove"), remove, { quiet: true, symbol: "trash", "aria-label": t("removeName", { name: url }) }),
      enabled && h("span", { class: "actions end" }, since, action(t("deliverMissed"), replay, { quiet: true, "aria-label": t("deliverTo", { url }) })),
    ),
    past.element,
  );
}

/** The deliveries of a webhook, fetched when they are opened. */
function deliveries({ id, url }, signal) {
  const body = h("tbody", {});
  const again = (delivery) => async () => {
    if (await tried(() => api.replayDelivery(id, delivery).then(() => true), t("onItsWayAgain"))) await load();
  };
  const row = ({ id: delivery, type, state: became, attempts, status, error, created_at: at }) =>
    h(
      "tr",
      {},
      h("td", {}, h("time", { dateTime: at, title: when(at) }, ago(at))),
      h("td", {}, h("code", {}, type)),
      h("td", {}, h("span", { class: "badge", "data-status": became === "delivered" ? "active" : became }, DELIVERY_STATES[became] ?? became)),
      h("td", { class: "number" }, attempts),
      h("td", { class: error ? "name bad" : "name" }, error ?? status ?? ""),
      h("td", {}, action(t("deliverAgain"), again(delivery), { quiet: true, "aria-label": t("deliverTypeAgain", { type }) })),
    );
  const { more, load } = paged(body, (cursor) => api.deliveries(id, { limit: DELIVERIES, cursor }, signal), row);
  const none = h("p", { class: "faint", hidden: true }, t("nothingDelivered"));
  const all = table(t("deliveriesTo", { url }), [...COLUMNS, unseen(t("again"))], body);
  const renew = async () => {
    const items = await load();
    all.hidden = !(none.hidden = items.length > 0);
  };
  const element = h("details", { open: opened.has(id) }, h("summary", {}, t("deliveries")), none, all, more);
  element.addEventListener("toggle", () => {
    if (element.open) opened.add(id);
    else opened.delete(id);
    if (element.open) renew().catch((error) => error.name !== "AbortError" && say(error.message, { bad: true }));
  });
  return { element, renew: () => (element.open ? renew() : undefined) };
}
