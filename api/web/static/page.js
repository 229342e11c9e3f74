// The page: gallery, uploads, search. What each does is in its own module.

import * as api from "./api.js";
import { Gallery } from "./gallery.js";
import { tile } from "./tiles.js";
import { add } from "./uploads.js";

const $ = (id) => document.getElementById(id);
const gallery = new Gallery($("gallery"), $("more"), $("empty"), (image) =>
  ask(image.links.thumbnail, image.label, () => api.similar(image.image_id)),
);

async function ask(source, label, search) {
  const shown = new Image();
  shown.src = source;
  shown.alt = "the picture searched with";
  const caption = document.createElement("figcaption");
  caption.textContent = label || "your picture";
  $("query").replaceChildren(shown, caption);
  $("matches").replaceChildren();
  $("how").textContent = "Searching…";
  $("result").hidden = false;
  $("result").scrollIntoView({ behavior: "smooth" });
  try {
    const found = await search();
    $("matches").replaceChildren(...found.matches.map(match));
    const how = found.search;
    $("how").textContent = `${how.returned} of ${how.requested} asked for, ${how.mode} search, ${Math.round(how.took_ms)} ms.`;
  } catch (error) {
    $("how").textContent = error.message;
  }
}

const match = (found) =>
  tile(found.links.thumbnail, {
    label: found.label ?? "",
    note: found.similarity.toFixed(3),
    open: () => ask(found.links.thumbnail, found.label, () => api.similar(found.image_id)),
  });

const pictures = (list) => [...list].filter((file) => file.type.startsWith("image/"));
const bring = (files) => add(files, $("uploads"), $("tiles"), () => gallery.refresh());
const searchBy = (file) => ask(URL.createObjectURL(file), file.name, () => api.search(file));

$("add").addEventListener("change", ({ target }) => {
  if (target.files.length) bring(target.files);
});
$("ask").addEventListener("change", ({ target }) => {
  if (target.files.length) searchBy(target.files[0]);
});
$("close").addEventListener("click", () => {
  $("result").hidden = true;
});
document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = pictures(clipboardData.files);
  if (file) searchBy(file);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").hidden = false;
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  const files = pictures(event.dataTransfer.files);
  if (files.length === 1) searchBy(files[0]);
  else if (files.length) bring(files);
});

async function state() {
  try {
    const { ready, checks } = await api.ready();
    const missing = Object.keys(checks).filter((part) => !checks[part]);
    $("state").textContent = ready ? "Ready" : `Waiting for ${missing.join(", ")}`;
  } catch {
    $("state").textContent = "No answer from the server";
  }
}

state();
setInterval(state, 10_000);
gallery.refresh();
