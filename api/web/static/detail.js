// One picture: all that is known of it, what is similar to it, and what can be done with it.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { basket } from "./basket.js";
import { action, field, h, icon } from "./dom.js";
import { labelInput, seen } from "./filters.js";
import { ago, size, when } from "./format.js";
import { forget } from "./gallery.js";
import { to } from "./router.js";
import { say, tried } from "./say.js";
import { tiles } from "./tiles.js";

export const title = "Picture";
const SIMILAR = 24;

export async function show({ main, heading, id, signal }) {
  const image = await api.image(id, signal);
  seen([image]);
  heading.textContent = image.label ?? image.name ?? "Picture without a label";
  main.append(
    h(
      "div",
      { class: "detail" },
      h("figure", {}, h("img", { src: api.file(image.image_id), alt: heading.textContent, width: image.width, height: image.height })),
      h("aside", { class: "panel", "aria-label": "About this picture" }, acts(image), editor(image, heading), facts(image)),
    ),
  );
  await similar(main, image, signal);
}

function acts(image) {
  const { image_id: id } = image;
  return h(
    "div",
    { class: "actions" },
    h("a", { class: "button primary", href: to("search", { image: id }) }, icon("search"), h("span", {}, "Search")),
    h("a", { class: "button quiet", href: to("identify", { image: id }) }, icon("identify"), h("span", {}, "Identify")),
    action("Collect", () => say(basket.toggle(image) ? "Collected to search with." : "Taken out again."), { quiet: true, symbol: "plus" }),
    action("Delete", () => remove(image), { quiet: true, symbol: "trash" }),
  );
}

async function remove({ image_id: id, label, name }) {
  const sure = await ask("Delete this picture?", `${label ?? name ?? "The picture"}, its bytes and its vectors are removed. This cannot be undone.`, "Delete");
  if (!sure) return;
  const gone = await tried(() => api.remove(id).then(() => true), "Deleted.");
  if (!gone) return;
  forget();
  location.replace(to("gallery"));
}

function editor(image, heading) {
  const label = labelInput(image.label ?? "", { placeholder: "no label" });
  const shown = ({ metadata: known }) => JSON.stringify(known, null, 1);
  const metadata = h("textarea", { rows: 3, spellcheck: false, value: shown(image) });
  const save = async () => {
    let object;
    try {
      object = JSON.parse(metadata.value || "{}");
    } catch {
      return say("Metadata must be a JSON object.", { bad: true });
    }
    if (!isObject(object)) return say("Metadata must be a JSON object.", { bad: true });
    const changes = { label: label.value.trim() || null, metadata: mergePatch(image.metadata, object) };
    const changed = await tried(() => api.change(image.image_id, changes), "Saved.");
    if (!changed) return undefined;
    image.metadata = changed.metadata;
    metadata.value = shown(changed);
    heading.textContent = changed.label ?? changed.name ?? "Picture without a label";
    return forget();
  };
  const form = h(
    "form",
    { class: "editor" },
    field("Label", label),
    field("Metadata, JSON", metadata),
    h("button", { class: "quiet" }, "Save"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  return form;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** What makes the one object of the other: a JSON Merge Patch (RFC 7396), in which null removes a key. */
function mergePatch(before, after) {
  const patch = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[key], after[key]];
    if (is === undefined) patch[key] = null;
    else if (isObject(was) && isObject(is)) patch[key] = mergePatch(was, is);
    else if (JSON.stringify(was) !== JSON.stringify(is)) patch[key] = is;
  }
  return patch;
}

function facts(image) {
  const rows = [
    ["Name", image.name ?? "none"],
    ["Collection", h("a", { href: to("gallery", { collection: image.collection }) }, image.collection)],
    ["Size", `${image.width} × ${image.height}, ${size(image.size)}`],
    ["Type", image.media_type],
    ...(image.note ? [["Note", image.note]] : []),
    ["Added", h("time", { dateTime: image.created_at, title: when(image.created_at) }, ago(image.created_at))],
    ["State", image.status],
    ["SHA-256", h("code", { title: image.sha256 }, `${image.sha256.slice(0, 16)}…`)],
  ];
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

async function similar(main, image, signal) {
  if (image.status !== "indexed") {
    main.append(h("p", { class: "faint" }, "It has no vector yet, so nothing can be said of what is similar."));
    return;
  }
  const [{ matches }, { items: [group] }] = await Promise.all([
    api.similar(image.image_id, { k: SIMILAR }, signal),
    api.duplicates({ image_id: image.image_id, collection: image.collection }, signal),
  ]);
  const copies = (group?.images ?? []).filter(({ image_id: id }) => id !== image.image_id);
  const others = matches.filter(({ image_id: id }) => !copies.some((copy) => copy.image_id === id));
  const noted = ({ similarity }) => ({ note: similarity.toFixed(2) });
  if (copies.length) {
    main.append(
      h("h2", {}, "The same picture, changed"),
      tiles(copies, ({ width, height }) => ({ note: `${width} × ${height}` })),
      h("p", { class: "further" }, h("a", { href: to("duplicates", { collection: image.collection }) }, "Keep one of them")),
    );
  }
  if (others.length) main.append(h("h2", {}, "Similar pictures"), tiles(others, noted));
}
