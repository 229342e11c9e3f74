// The gallery in the plane: similar pictures near each other, coloured by label, a lasso to take some out.

import * as api from "./api.js";
import { action, h, icon } from "./dom.js";
import { empty, nothingYet } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { ago, seconds } from "./format.js";
import { colourOf, legend } from "./legend.js";
import * as live from "./live.js";
import { Plane } from "./plane.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { selection } from "./selection.js";
import { STATUSES } from "./states.js";
import { t } from "./text.js";

export const title = t("map");
const LOOK_MS = 800;

export async function show({ main, heading, parameters, signal }) {
  const { collection = "" } = parameters;
  const lead = h("p", { class: "lead", role: "status" });
  const body = h("div", {});
  const again = action(t("recompute"), () => compute(), { quiet: true });
  const bar = h("div", { class: "bar" }, collectionFilter(collection, (value) => go("map", { collection: value }), await sizes(signal)), h("span", { class: "end" }, again));
  heading.after(lead, bar);
  main.append(body);
  const compute = async () => {
    const begun = await tried(() => api.computeMap(collection));
    if (begun) await follow(begun.job_id);
  };
  const follow = async (id) => {
    const began = Date.now();
    const look = async () => {
      const job = await api.job(id, signal);
      if (signal.aborted) return true;
      if (job.finished_at) {
        if (job.error || job.status !== "succeeded") say(job.error ?? t("mapWas", { status: STATUSES[job.status] }), { bad: true });
        return true;
      }
      lead.replaceChildren(job.status === "queued" ? t("waitingForWorker") : `${t("computingSince", { time: seconds((Date.now() - began) / 1000) })} `, h("a", { href: to(`job/${id}`) }, t("theJob")));
      return live.POLL; // it says for how long it computes
    };
    if ((await look()) !== true) await live.follow(look, LOOK_MS, signal, id);
    if (signal.aborted) return;
    await fill();
  };
  const fill = async () => {
    const data = await api.map(collection, signal);
    again.hidden = !data.computed_at;
    bar.hidden = !data.computed_at && !collection;
    lead.textContent = data.computed_at ? state(data) : "";
    if (data.computed_at) body.replaceChildren(chart(data, signal));
    else body.replaceChildren((await sizes(signal)).of(collection) ? notComputed(compute) : nothingYet());
  };
  await fill();
}

function state({ ids, images, new: fresh, computed_at: at }) {
  const shown = images > ids.length ? t("sampleOf", { count: ids.length, total: images }) : t("pictures", { count: ids.length });
  return fresh ? t("computedBut", { pictures: shown, ago: ago(at), count: fresh }) : t("computed", { pictures: shown, ago: ago(at) });
}

const notComputed = (compute) =>
  empty(
    "map",
    t("notComputedYet"),
    t("aboutMap"),
    action(t("computeMap"), compute, { symbol: "map" }),
  );

function chart(data, signal) {
  const canvas = h("canvas", { tabIndex: 0, role: "application", "aria-label": t("mapOfGallery"), "aria-describedby": "map-keys" });
  const name = h("p", { class: "here", "aria-live": "polite" });
  const plane = new Plane(canvas, data, colourOf, signal);
  const labelled = (index) => data.labels[data.label[index]] ?? t("noLabel");
  const chosen = selection(data, plane);
  plane.addEventListener("here", (/** @type {CustomEvent} */ { detail }) => name.replaceChildren(...(detail === null ? [] : [h("img", { src: api.thumbnail(data.ids[detail]), alt: "", width: 96, height: 96 }), labelled(detail)])));
  plane.addEventListener("open", (/** @type {CustomEvent} */ { detail }) => go(`image/${data.ids[detail]}`));
  plane.addEventListener("lasso", (/** @type {CustomEvent} */ { detail }) => {
    chosen.set(detail);
    lasso.setAttribute("aria-pressed", "false");
  });
  plane.addEventListener("toggle", (/** @type {CustomEvent} */ { detail }) => chosen.toggle(detail));
  const lasso = tool("lasso", t("lasso"), () => lasso.setAttribute("aria-pressed", String(plane.toggleLasso())));
  lasso.setAttribute("aria-pressed", "false");
  const view = h(
    "div",
    { class: "view" },
    canvas,
    h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": t("mapTools") },
      tool("plus", t("nearer"), () => plane.zoom(1.5)),
      tool("minus", t("farther"), () => plane.zoom(1 / 1.5)),
      tool("fit", t("showAll"), () => plane.fit()),
      lasso,
    ),
    name,
  );
  const highlight = (labels) => plane.highlight(labels);
  return h(
    "div",
    { class: "map" },
    view,
    h(
      "aside",
      { "aria-label": t("legendAndSelection") },
      h("div", { class: "actions" }, action(t("selectInView"), () => chosen.set(plane.inView()), { quiet: true, symbol: "lasso" })),
      chosen.element,
      legend(data, highlight, (index) => chosen.set(data.ids.map((_, at) => at).filter((at) => data.label[at] === index))),
    ),
    h("p", { id: "map-keys", class: "faint keys" }, t("mapKeys")),
  );
}

const tool = (symbol, name, act) => h("button", { type: "button", title: name, "aria-label": name, onclick: act }, icon(symbol));
