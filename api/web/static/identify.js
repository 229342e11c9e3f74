// What a picture shows, by whose evidence; or that it is unknown.

import * as api from "./api.js";
import { chooser, h } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { percent } from "./format.js";
import { go, to } from "./router.js";
import { TAKEN } from "./search.js";
import { say } from "./say.js";
import { thumb } from "./tiles.js";

export const title = "Identify";
const MOST = 5;
const SHOWN = 5;
let pictures = [];

export function identifyBy(files) {
  if (files.length > MOST) say(`At most ${MOST} pictures of one subject are looked at; these are the first.`);
  pictures = files.slice(0, MOST);
  go("identify", { files: pictures.length, at: Date.now() });
}

export async function show({ main, parameters, signal }) {
  const { image = "", files = "", collection = "" } = parameters;
  const pick = (text, quiet) => chooser(text, identifyBy, { accept: TAKEN, multiple: true, quiet, symbol: quiet ? null : "identify" });
  if (!image && !(files && pictures.length)) {
    main.append(
      empty(
        "identify",
        "What does it show?",
        "Choose one picture, or up to five of the same subject. The nearest labelled pictures vote; when no label is probable enough the answer is “unknown”.",
        pick("Choose pictures", false),
      ),
    );
    return;
  }
  const answer = h("section", { class: "verdict", "aria-label": "Answer" }, h("p", { class: "faint", role: "status" }, "Looking…"));
  main.append(
    h(
      "div",
      { class: "sided" },
      h(
        "aside",
        { class: "panel", "aria-label": "What is identified" },
        image ? asked(api.file(image)) : pictures.map((file) => asked(local(file, signal))),
        collectionFilter(collection, (value) => go("identify", { ...parameters, collection: value }), await sizes(signal)),
        h("div", { class: "actions" }, pick("Other pictures", true)),
      ),
      answer,
    ),
  );
  try {
    const found = image
      ? await api.identify({ image_ids: [image], ...(collection && { collection }) }, signal)
      : await api.identifyFiles(pictures, collection, signal);
    answer.replaceChildren(...verdict(found));
  } catch (error) {
    if (error.name !== "AbortError") answer.replaceChildren(h("p", { class: "trouble", role: "alert" }, error.message));
  }
}

const asked = (source) => h("figure", { class: "asked" }, h("img", { src: source, alt: "the picture that is identified" }));

function local(file, signal) {
  const source = URL.createObjectURL(file);
  signal.addEventListener("abort", () => URL.revokeObjectURL(source));
  return source;
}

function verdict({ best, unknown, results, threshold, calibration, took_ms: took }) {
  const [first] = results;
  const trusted = threshold !== null && `A label is trusted from ${percent(threshold)} on.`;
  const how = [trusted, calibration.note, `${Math.round(took)} ms.`].filter(Boolean).join(" ");
  const head = unknown
    ? [h("p", { class: "answer unknown", role: "status" }, "Unknown"), h("p", {}, guess(first))]
    : [h("p", { class: "answer", role: "status" }, best), h("p", {}, `${percent(first.score)} ${unknown === null ? "of the votes" : "probable"}.`)];
  return [...head, h("p", { class: "faint" }, how), h("h2", {}, unknown ? "Nearest guesses" : "Evidence"), h("ol", { class: "votes" }, results.slice(0, SHOWN).map(vote))];
}

function guess(first) {
  if (!first) return "No labelled picture is near. Label some pictures to be compared with.";
  return `It may be none of the labels in the gallery. The nearest is ${first.label}, with ${percent(first.score)}.`;
}

function vote({ label, score, evidence }) {
  return h(
    "li",
    {},
    h("div", { class: "share" }, h("a", { href: to("gallery", { label }) }, label), h("meter", { min: 0, max: 1, value: score, "aria-label": `probability of ${label}` }), h("span", { class: "number" }, percent(score))),
    h("div", { class: "thumbs" }, evidence.slice(0, 11).map((id) => thumb(id, label))),
  );
}
