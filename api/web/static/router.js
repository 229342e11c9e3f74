// One view at a time, named by the part of the address behind #: /search?image=…

import { h } from "./dom.js";
import { say } from "./say.js";

const scrolled = new Map(); // where each address was left
let leaving = new AbortController();
let first = true;

/** The address of a view with those parameters that are set. */
export function to(view, parameters = {}) {
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(set).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

export const go = (...address) => (location.hash = to(...address));

/** Change the address without showing the view anew: it has changed itself already. */
export const note = (...address) => history.replaceState(null, "", to(...address));

export function current() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id = null] = path.split("/");
  return { view: view || "gallery", id, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

/** views: {name: async () => {title, show(context)}}; show fills context.main, and stops when context.signal says so.
    defaults: parameters for addresses that do not say. */
export function start(views, main, defaults = {}) {
  history.scrollRestoration = "manual";
  let shown = location.hash;
  addEventListener("scroll", () => scrolled.set(shown, scrollY), { passive: true });
  const back = { is: false };
  addEventListener("popstate", () => (back.is = true));
  const show = async () => {
    const { view, id, parameters: said } = current();
    const parameters = { ...defaults, ...said };
    shown = location.hash;
    const top = scrolled.get(shown) ?? 0;
    leaving.abort();
    leaving = new AbortController();
    const { signal } = leaving;
    mark(view);
    const { title, show: fill } = await (views[view] ?? views.gallery)();
    if (signal.aborted) return;
    document.title = `${title} · Umbel`;
    const heading = h("h1", { tabIndex: -1 }, title);
    main.replaceChildren(heading);
    main.dataset.view = view;
    try {
      await fill({ main, heading, id, parameters, signal });
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      main.append(h("p", { class: "trouble", role: "alert" }, error.message));
      say(error.message, { bad: true });
    }
    if (signal.aborted) return;
    if (!first) heading.focus({ preventScroll: true });
    first = false;
    scrollTo(0, back.is ? top : 0);
    back.is = false;
  };
  addEventListener("hashchange", show);
  return show();
}

function mark(view) {
  const shownAs = { image: "gallery", job: "jobs" }[view] ?? view;
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.dataset.view === shownAs) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
