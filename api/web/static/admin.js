// For the operator of the service: a tab for each thing, of which those are offered that the key may use.

import { collections } from "./api.js";
import { h } from "./dom.js";
import { counted } from "./format.js";
import { may } from "./http.js";
import { to } from "./router.js";

export const title = "Admin";

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
  models: { name: "Models", parts: [of(() => import("./models.js"), "versions")] },
  reindex: { name: "Reindex", parts: [of(() => import("./reindex.js"), "reindexing")] },
  recall: { name: "Recall", parts: [of(() => import("./recall.js"), "recall")] },
  curation: { name: "Curation", parts: [of(() => import("./labels.js"), "doubts"), of(() => import("./curation.js"), "worthLabelling", "outliers", "representatives")], scope: "write" },
  keys: { name: "Keys", parts: [of(() => import("./keys.js"), "keys")] },
  webhooks: { name: "Webhooks", parts: [of(() => import("./webhooks.js"), "webhooks")], limited: true },
  audit: { name: "Audit", parts: [of(() => import("./audit.js"), "events")] },
  health: { name: "Health", parts: [of(() => import("./health.js"), "health")], scope: "read" },
};

/** @param {{scope?: string, limited?: boolean}} tab */
const offered = ({ scope = "admin", limited = false }) => may(scope, { everywhere: scope === "admin" && !limited });

export async function show({ main, heading, parameters, signal }) {
  const tabs = Object.entries(TABS).filter(([, tab]) => offered(tab));
  const [at, tab] = tabs.find(([key]) => key === parameters.tab) ?? tabs[0];
  const { items } = await collections(signal);
  const pictures = items.reduce((sum, { images }) => sum + images, 0);
  heading.after(
    h("p", { class: "lead" }, `${counted(pictures, "picture")} in ${counted(items.length, "collection")}. `, h("a", { href: "docs" }, "The API")),
    h("nav", { class: "tabs", "aria-label": "Administration" }, tabs.map(([key, { name }]) => h("a", { href: to("admin", { tab: key }), ...(key === at && { "aria-current": "page" }) }, name))),
  );
  document.querySelector(".tabs [aria-current]").scrollIntoView({ block: "nearest", inline: "center" });
  const redraw = () => location.hash.startsWith(to("admin")) && dispatchEvent(new HashChangeEvent("hashchange"));
  const refused = (error) => h("p", { class: "trouble", role: "alert" }, error.message);
  const sections = await Promise.all(tab.parts.map((part) => part(signal, redraw).catch(refused)));
  main.append(...sections.flat());
}
