// The gallery in the plane: similar pictures near each other, coloured by label, a lasso to take some out.

import * as api from "./api.js";
import { action, h, icon } from "./dom.js";
import { empty, nothingYet } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { ago, number, seconds } from "./format.js";
import { colourOf, legend } from "./legend.js";
import * as live from "./live.js";
import { Plane } from "./plane.js";
import { go, to } from "./router.js";
import { say, tried } from "./say.js";
import { selection } from "./selection.js";

export const title = "Map";
const LOOK_MS = 800;

export async function show({ main, heading, parameters, signal }) {
  const { collection = "" } = parameters;
  const lead = h("p", { class: "lead", role: "status" });
  const body = h("div", {});
  const anew = action("Compute anew", () => compute(), { quiet: true });
  const bar = h("div", { class: "bar" }, collectionFilter(collection, (value) => go("map", { collection: value }), await sizes(signal)), h("span", { class: "end" }, anew));
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
        if (job.error || job.status !== "succeeded") say(job.error ?? `The map was ${job.status}.`, { bad: true });
        return true;
      }
      lead.replaceChildren(job.status === "queued" ? "Waiting for a worker… " : `Computing, since ${seconds((Date.now() - began) / 1000)}… `, h("a", { href: to(`job/${id}`) }, "the job"));
      return live.POLL; // it says for how long it computes
    };
    if ((await look()) !== true) await live.follow(look, LOOK_MS, signal, id);
    if (signal.aborted) return;
    await fill();
  };
  const fill = async () => {
    const data = await api.map(collection, signal);
    anew.hidden = !data.computed_at;
    bar.hidden = !data.computed_at && !collection;
    lead.textContent = data.computed_at ? state(data) : "";
    if (data.computed_at) body.replaceChildren(chart(data, signal));
    else body.replaceChildren((await sizes(signal)).of(collection) ? notComputed(compute) : nothingYet());
  };
  await fill();
}

function state({ ids, images, new: fresh, computed_at: at }) {
  const sample = images > ids.length ? ` of ${number(images)}` : "";
  return `${number(ids.length)}${sample} pictures, computed ${ago(at)}${fresh ? `; ${number(fresh)} new since` : ""}.`;
}

const notComputed = (compute) =>
  empty(
    "map",
    "Not computed yet",
    "Every picture becomes a point, near those it resembles. A worker lays them out: seconds for hundreds, minutes for many thousands.",
    action("Compute the map", compute, { symbol: "map" }),
  );

function chart(data, signal) {
  const canvas = h("canvas", { tabIndex: 0, role: "application", "aria-label": "Map of the gallery", "aria-describedby": "map-keys" });
  const name = h("p", { class: "here", "aria-live": "polite" });
  const plane = new Plane(canvas, data, colourOf, signal);
  const labelled = (index) => data.labels[data.label[index]] ?? "no label";
  const chosen = selection(data, plane);
  plane.addEventListener("here", (/** @type {CustomEvent} */ { detail }) => name.replaceChildren(...(detail === null ? [] : [h("img", { src: api.thumbnail(data.ids[detail]), alt: "", width: 96, height: 96 }), labelled(detail)])));
  plane.addEventListener("open", (/** @type {CustomEvent} */ { detail }) => go(`image/${data.ids[detail]}`));
  plane.addEventListener("lasso", (/** @type {CustomEvent} */ { detail }) => {
    chosen.set(detail);
    lasso.setAttribute("aria-pressed", "false");
  });
  plane.addEventListener("toggle", (/** @type {CustomEvent} */ { detail }) => chosen.toggle(detail));
  const lasso = tool("lasso", "Lasso", () => lasso.setAttribute("aria-pressed", String(plane.toggleLasso())));
  lasso.setAttribute("aria-pressed", "false");
  const view = h(
    "div",
    { class: "view" },
    canvas,
    h(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Map tools" },
      tool("plus", "Nearer", () => plane.zoom(1.5)),
      tool("minus", "Farther", () => plane.zoom(1 / 1.5)),
      tool("fit", "Show all", () => plane.fit()),
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
      { "aria-label": "Legend and selection" },
      h("div", { class: "actions" }, action("Select what is in view", () => chosen.set(plane.inView()), { quiet: true, symbol: "lasso" })),
      chosen.element,
      legend(data, highlight, (index) => chosen.set(data.ids.map((_, at) => at).filter((at) => data.label[at] === index))),
    ),
    h("p", { id: "map-keys", class: "faint keys" }, "Drag or arrow keys move, the wheel or + and − zoom, 0 shows all. Enter opens the picture in the middle, the space bar selects it."),
  );
}

const tool = (symbol, name, act) => h("button", { type: "button", title: name, "aria-label": name, onclick: act }, icon(symbol));
