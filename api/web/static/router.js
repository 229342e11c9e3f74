// One view at a time, named by the part of the address behind #: /search?image=…

import { h } from "./dom.js";
import { say } from "./say.js";

const scrolled = new Map(); // where each address was left
const opened = location.hash;
let leaving = new AbortController();

/** The address of a view with those parameters that are set. */
export function to(view, parameters = {}) {
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(set).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

export const go = (...address) => (location.hash = to(...address));

/** The same without a way back to the view that is left: for going through a list. */
export const replace = (...address) => location.replace(to(...address));

/** Change the address without showing the view anew: it has changed itself already. */
export const note = (...address) => history.replaceState(null, "", to(...address));

/** Show the view once more, as from its address. */
export const again = () => dispatchEvent(new HashChangeEvent("hashchange"));

export function current() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id = null] = path.split("/");
  return { view: view || "gallery", id, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

/** views: {name: async () => {title, show(context)}}; show fills context.main, and stops when context.signal says so.
    A view that changes by itself returns from show what keeps it current, which may go on until then.
    defaults: parameters for addresses that do not say. */
export function start(views, main, defaults = {}) {
  history.scrollRestoration = "manual";
  let shown = location.hash;
  const back = { is: false };
  let moved = location.hash !== opened; // someone may follow a link before the first view is there
  addEventListener("popstate", () => (back.is = true));
  let there = false; // the view is, and can be scrolled
  const show = async () => {
    if (there) scrolled.set(shown, scrollY); // read now, not while scrolling: reading it lays the page out
    there = false;
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
    const reporting = async (step) => {
      try {
        return await step();
      } catch (error) {
        if (error.name === "AbortError" || signal.aborted) return null;
        main.append(h("p", { class: "trouble", role: "alert", "data-lost": String(error.status === 0) }, error.message));
        say(error.message, { bad: true });
        return null;
      }
    };
    const follow = await reporting(() => fill({ main, heading, id, parameters, signal }));
    if (signal.aborted) return;
    if (moved) heading.focus({ preventScroll: true });
    scrollTo(0, back.is ? top : 0);
    back.is = false;
    there = true;
    if (follow) await reporting(follow);
  };
  addEventListener("hashchange", () => {
    moved = true;
    show();
  });
  return show();
}

function mark(view) {
  const shownAs = { image: "gallery", trash: "gallery", job: "jobs" }[view] ?? view;
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("nav a[data-view]"))) {
    if (link.dataset.view === shownAs) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
