// One picture: all that is known of it, what is similar to it, and what can be done with it.

import * as api from "./api.js";
import { basket } from "./basket.js";
import { action, field, h, icon } from "./dom.js";
import { empty } from "./empty.js";
import { labelInput, seen } from "./filters.js";
import { ago, decimal, size, when } from "./format.js";
import { forget } from "./gallery.js";
import { may } from "./http.js";
import { likenessIn } from "./likeness.js";
import { mergePatch, rows, write } from "./metadata.js";
import { replace, to } from "./router.js";
import { say, tried } from "./say.js";
import { forgetPicture, placeOf, remember } from "./sequence.js";
import { IMAGE_STATES, MODEL_STATES } from "./states.js";
import { t } from "./text.js";
import { tiles } from "./tiles.js";
import { remove } from "./trash.js";
import { Viewer } from "./viewer.js";

export const title = t("picture");
const SIMILAR = 24;
const UNNAMED = t("unnamedPicture");
const coming = new Map(); // the neighbors in the list, asked for before they are wanted
let pressed = null; // which of the two buttons led here

const nameOf = (image) => image.label ?? image.name ?? UNNAMED;

export async function show({ main, heading, id, signal }) {
  const stepped = pressed;
  pressed = null;
  let image;
  try {
    image = await (coming.get(id) ?? api.image(id, signal));
  } catch (error) {
    if (error.status !== 404) throw error;
    return void main.append(empty("gallery", t("pictureNotHere"), t("pictureNotHereText"), h("a", { class: "button quiet", href: to("gallery") }, t("toTheGallery"))));
  } finally {
    coming.clear();
  }
  seen([image]);
  heading.textContent = nameOf(image);
  const viewer = new Viewer(image, nameOf(image), signal);
  const steps = h("nav", { class: "steps", "aria-label": t("inTheList") });
  const titled = h("div", { class: "titled" });
  heading.replaceWith(titled);
  titled.append(heading, steps);
  const origin = h("dl", { class: "facts" });
  const near = h("section", { "aria-label": t("nearestNeighbors") }, h("h2", {}, t("similarPictures")), waiting());
  main.append(
    h(
      "div",
      { class: "detail" },
      viewer.element,
      h("aside", { class: "panel", "aria-label": t("aboutThisPicture") }, acts(image), may("write") ? editor(image, heading) : written(image), facts(image), origin),
      near,
    ),
  );
  const place = await placeOf(id);
  if (signal.aborted) return undefined;
  if (place) stepThrough(place, steps, viewer, signal);
  else listenTo(viewer, {}, signal);
  return async () => {
    if (stepped) (steps.querySelector(`[data-step="${stepped}"]:not(:disabled)`) ?? steps.querySelector("button:not(:disabled)"))?.focus({ preventScroll: true });
    for (const next of [place?.after, place?.before]) if (next) prefetch(next);
    await Promise.all([similar(near, image, signal), provenance(origin, image, signal)]);
  };
}

/** Grey tiles where pictures will be. */
const waiting = () => h("ul", { class: "tiles waiting", "aria-label": t("lookingForSimilar"), "aria-busy": "true" }, Array.from({ length: 6 }, () => h("li", { class: "tile" }, h("span", { class: "blank" }))));

function prefetch(id) {
  const asked = api.image(id);
  asked.catch(() => coming.delete(id));
  coming.set(id, asked);
  new Image().src = api.file(id);
}

function stepThrough({ before, after, address }, steps, viewer, signal) {
  const step = (which, id) => () => {
    if (!id) return;
    pressed = which;
    replace(`image/${id}`);
  };
  const button = (which, id, symbol, text) =>
    h("button", { type: "button", class: "quiet round", "data-step": which, disabled: !id, title: text, "aria-label": text, onclick: step(which, id) }, icon(symbol));
  steps.append(
    h("a", { class: "button quiet", href: address }, t("backToTheList")),
    button("before", before, "left", t("previousPicture")),
    button("after", after, "right", t("nextPicture")),
  );
  listenTo(viewer, { ArrowLeft: step("before", before), ArrowRight: step("after", after), Escape: () => (location.hash = address) }, signal);
}

/** The keys of the viewer and of the list, wherever the focus is but in a field or a dialog. */
function listenTo(viewer, others, signal) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || /** @type {Element} */ (event.target).closest("input, textarea, select, dialog")) return;
      if (event.key === "Escape" && !viewer.fitted) viewer.fit();
      else if (viewer.key(event.key)) return event.preventDefault();
      else if (others[event.key]) others[event.key]();
      else return;
      event.preventDefault();
    },
    { signal },
  );
}

function acts(image) {
  const { image_id: id } = image;
  const collect = h("button", { type: "button", class: "quiet" }, icon("plus"), h("span", {}));
  const drawn = (inside) => {
    collect.setAttribute("aria-pressed", String(inside));
    collect.lastChild.textContent = inside ? t("collected") : t("collect");
  };
  drawn(basket.has(id));
  collect.addEventListener("click", () => drawn(basket.toggle(image)));
  return h(
    "div",
    { class: "actions" },
    h("a", { class: "button primary", href: to("search", { image: id }) }, icon("search"), h("span", {}, t("search"))),
    h("a", { class: "button quiet", href: to("identify", { image: id }) }, icon("identify"), h("span", {}, t("identify"))),
    collect,
    h("a", { class: "button quiet", href: api.file(id), download: image.name?.split("/").at(-1) ?? "" }, t("download")),
    may("write") && action(t("delete"), () => removeThis(image), { quiet: true, symbol: "trash" }),
  );
}

async function removeThis({ image_id: id, label, name }) {
  const restored = () => {
    forget();
    location.assign(to(`image/${id}`));
  };
  const place = await placeOf(id);
  const text = t("removedWithBytes", { name: label ?? name ?? t("thePicture") });
  if (!(await remove([id], { question: t("deleteThisPicture"), text, restored }))) return;
  forget();
  forgetPicture(id);
  const next = place?.after ?? place?.before;
  if (next) replace(`image/${next}`);
  else location.replace(place?.address ?? to("gallery"));
}

function editor(image, heading) {
  const label = labelInput(image.label ?? "", { placeholder: t("noLabel") });
  const external = h("input", { type: "text", value: image.external_id ?? "", placeholder: t("none"), spellcheck: false, autocomplete: "off" });
  const metadata = rows(image.metadata);
  const save = h("button", { class: "quiet", disabled: true }, t("save"));
  const form = h("form", { class: "editor" }, field(t("label"), label), field(t("externalId"), external, t("aboutExternalId")), h("h2", {}, t("metadata")), metadata.element, save);
  const changes = () => {
    const changed = {};
    if ((label.value.trim() || null) !== image.label) changed.label = label.value.trim() || null;
    if ((external.value.trim() || null) !== image.external_id) changed.external_id = external.value.trim() || null;
    const patch = mergePatch(image.metadata, metadata.value());
    return Object.keys(patch).length ? { ...changed, metadata: patch } : changed;
  };
  const compare = () => {
    try {
      save.disabled = !Object.keys(changes()).length;
    } catch {
      save.disabled = false; // pressing it says what is wrong
    }
  };
  form.addEventListener("input", compare);
  form.addEventListener("click", compare);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const saved = await tried(() => api.change(image.image_id, changes()), t("saved"));
    if (!saved) return;
    Object.assign(image, { label: saved.label, external_id: saved.external_id, metadata: saved.metadata });
    metadata.set(saved.metadata);
    heading.textContent = nameOf(image);
    compare();
    forget();
  });
  return form;
}

const pairs = (list) => list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));

/** For those who may not change it. */
const written = ({ label, external_id: external, metadata }) =>
  h("dl", { class: "facts" }, pairs([[t("label"), label ?? t("none")], [t("externalId"), external ?? t("none")], ...Object.entries(metadata).map(([key, value]) => [key, write(value)])]));

const time = (text) => h("time", { dateTime: text, title: when(text) }, ago(text));

function facts(image) {
  return h(
    "dl",
    { class: "facts" },
    pairs([
      [t("name"), image.name ?? t("none")],
      [t("collection"), h("a", { href: to("gallery", { collection: image.collection }) }, image.collection)],
      [t("size"), `${image.width} × ${image.height}, ${size(image.size)}`],
      [t("type"), image.media_type],
      ...(image.note ? [[t("note"), image.note]] : []),
      [t("added"), time(image.created_at)],
      ...(image.replaced_at ? [[t("replaced"), time(image.replaced_at)]] : []),
      [t("state"), IMAGE_STATES[image.status] ?? image.status],
      [t("id"), h("code", {}, image.image_id)],
      ["SHA-256", h("code", { title: image.sha256 }, `${image.sha256.slice(0, 16)}…`)],
    ]),
  );
}

/** Which job brought it, and which model versions have embedded it. */
async function provenance(list, image, signal) {
  const { items } = await api.models(signal);
  const versions = items.filter(({ id }) => image.embedded_by.includes(id)).map(({ name, state }) => (state === "active" ? name : `${name} (${MODEL_STATES[state] ?? state})`));
  list.replaceChildren(
    ...pairs([
      [t("embeddedBy"), versions.join(", ") || t("noModelYet")],
      [t("cameWith"), image.job_id ? h("a", { href: to(`job/${image.job_id}`) }, t("itsJob")) : t("aJobNotKept")],
    ]),
  );
}

async function similar(section, image, signal) {
  if (image.status !== "indexed") {
    section.replaceChildren(h("h2", {}, t("similarPictures")), h("p", { class: "faint" }, t("noVectorYet")));
    return;
  }
  let answers;
  try {
    answers = await Promise.all([
      api.similar(image.image_id, { k: SIMILAR }, signal),
      api.duplicates({ image_id: image.image_id, collection: image.collection }, signal),
    ]);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const again = h("button", { type: "button", class: "quiet", onclick: () => (section.replaceChildren(h("h2", {}, t("similarPictures")), waiting()), similar(section, image, signal)) }, t("tryAgain"));
    section.replaceChildren(h("h2", {}, t("similarPictures")), h("p", { class: "trouble", role: "alert" }, error.message), again);
    return;
  }
  const [{ matches, model_version: version }, { items: [group] }] = answers;
  const likeness = await likenessIn(image.collection, version, signal);
  const copies = (group?.images ?? []).filter(({ image_id: id }) => id !== image.image_id);
  const others = matches.filter(({ image_id: id }) => !copies.some((copy) => copy.image_id === id));
  const listed = (images, options) => {
    const list = tiles(images, options);
    remember(list);
    return list;
  };
  section.replaceChildren();
  if (copies.length) {
    section.append(
      h("h2", {}, t("samePictureChanged")),
      listed(copies, ({ width, height }) => ({ note: `${width} × ${height}` })),
      h("p", { class: "beside" }, h("a", { href: to("duplicates", { collection: image.collection }) }, t("keepOneOfThem"))),
    );
  }
  section.append(
    h("h2", {}, t("similarPictures")),
    others.length ? listed(others, (match) => ({ note: decimal(match.similarity, 2), word: likeness(match) })) : h("p", { class: "faint" }, t("onlyPicture")),
  );
}
