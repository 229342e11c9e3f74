// For the operator of the service: a tab for each thing, of which those are offered that the key may use.

import { collections } from "./api.js";
import { h } from "./dom.js";
import { may } from "./http.js";
import { again, to } from "./router.js";
import { t } from "./text.js";

export const title = t("admin");

const of = (load, ...names) => async (signal, redraw) => {
  const made = await load();
  return Promise.all(names.map((name) => made[name](signal, redraw)));
};

/**
 * Their parts are sections, loaded when the tab is first shown.
 * limited: also for keys that are for some collections.
 * @type {Record<string, {name: string, parts: Function[], scope?: string, limited?: boolean}>}
 */
const TABS = {
  models: { name: t("models"), parts: [of(() => import("./models.js"), "versions")] },
  reindex: { name: t("reindex"), parts: [of(() => import("./reindex.js"), "reindexing")] },
  recall: { name: t("recall"), parts: [of(() => import("./recall.js"), "recall")] },
  curation: { name: t("curation"), parts: [of(() => import("./labels.js"), "doubts"), of(() => import("./curation.js"), "worthLabelling", "outliers", "representatives")], scope: "write" },
  sources: { name: t("sources"), parts: [of(() => import("./syncs.js"), "syncs")], scope: "write" },
  collections: { name: t("collections"), parts: [of(() => import("./collections.js"), "collections")] },
  keys: { name: t("keys"), parts: [of(() => import("./keys.js"), "keys")] },
  webhooks: { name: t("webhooks"), parts: [of(() => import("./webhooks.js"), "webhooks")], limited: true },
  audit: { name: t("audit"), parts: [of(() => import("./audit.js"), "events")] },
  health: { name: t("health"), parts: [of(() => import("./health.js"), "health")], scope: "read" },
};

/** @param {{scope?: string, limited?: boolean}} tab */
const offered = ({ scope = "admin", limited = false }) => may(scope, { everywhere: scope === "admin" && !limited });

export async function show({ main, heading, parameters, signal }) {
  const tabs = Object.entries(TABS).filter(([, tab]) => offered(tab));
  const [at, tab] = tabs.find(([key]) => key === parameters.tab) ?? tabs[0];
  const { items } = await collections(signal);
  const pictures = items.reduce((sum, { images }) => sum + images, 0);
  heading.after(
    h("p", { class: "lead" }, t("picturesIn", { pictures: t("pictures", { count: pictures }), count: items.length }), " ", h("a", { href: "docs" }, t("theApi"))),
    h("nav", { class: "tabs", "aria-label": t("administration") }, tabs.map(([key, { name }]) => h("a", { href: to("admin", { tab: key }), ...(key === at && { "aria-current": "page" }) }, name))),
  );
  document.querySelector(".tabs [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
  const redraw = () => location.hash.startsWith(to("admin")) && again();
  const refused = (error) => h("p", { class: "trouble", role: "alert" }, error.message);
  const sections = await Promise.all(tab.parts.map((part) => part(signal, redraw).catch(refused)));
  main.append(...sections.flat());
}
