// What a picture shows, by whose evidence; or that it is unknown.

import * as api from "./api.js";
import { chooser, h } from "./dom.js";
import { empty } from "./empty.js";
import { collectionFilter, sizes } from "./filters.js";
import { percent } from "./format.js";
import { go, to } from "./router.js";
import { say } from "./say.js";
import { TAKEN } from "./search.js";
import { t } from "./text.js";
import { thumb } from "./tiles.js";

export const title = t("identify");
const MOST = 5;
const SHOWN = 5;
let pictures = [];

export function identifyBy(files) {
  if (files.length > MOST) say(t("atMostPictures", { count: MOST }));
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
        t("whatDoesItShow"),
        t("whatDoesItShowText"),
        pick(t("choosePictures"), false),
      ),
    );
    return;
  }
  const answer = h("section", { class: "verdict", "aria-label": t("answer") }, h("p", { class: "faint", role: "status" }, t("looking")));
  main.append(
    h(
      "div",
      { class: "sided" },
      h(
        "aside",
        { class: "panel", "aria-label": t("whatIsIdentified") },
        image ? asked(api.file(image)) : pictures.map((file) => asked(local(file, signal))),
        collectionFilter(collection, (value) => go("identify", { ...parameters, collection: value }), await sizes(signal)),
        h("div", { class: "actions" }, pick(t("otherPictures"), true)),
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

const asked = (source) => h("figure", { class: "asked" }, h("img", { src: source, alt: t("pictureIdentified") }));

function local(file, signal) {
  const source = URL.createObjectURL(file);
  signal.addEventListener("abort", () => URL.revokeObjectURL(source));
  return source;
}

function verdict({ best, unknown, results, threshold, calibration, took_ms: took }) {
  const [first] = results;
  const trusted = threshold !== null && t("trustedFrom", { share: percent(threshold) });
  const how = [trusted, calibration.note, `${Math.round(took)} ms.`].filter(Boolean).join(" ");
  const head = unknown
    ? [h("p", { class: "answer unknown", role: "status" }, t("unknown")), h("p", {}, guess(first))]
    : [h("p", { class: "answer", role: "status" }, best), h("p", {}, unknown === null ? t("ofTheVotes", { share: percent(first.score) }) : t("probable", { share: percent(first.score) }))];
  return [...head, h("p", { class: "faint" }, how), h("h2", {}, unknown ? t("nearestGuesses") : t("evidence")), h("ol", { class: "votes" }, results.slice(0, SHOWN).map(vote))];
}

function guess(first) {
  if (!first) return t("noLabelledNear");
  return t("maybeNone", { label: first.label, share: percent(first.score) });
}

function vote({ label, score, evidence }) {
  return h(
    "li",
    {},
    h("div", { class: "share" }, h("a", { href: to("gallery", { label }) }, label), h("meter", { min: 0, max: 1, value: score, "aria-label": t("probabilityOf", { label }) }), h("span", { class: "number" }, percent(score))),
    h("div", { class: "thumbs" }, evidence.slice(0, 11).map((id) => thumb(id, label))),
  );
}
