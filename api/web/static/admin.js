// For the operator of the service: model versions, reindexes, the recall of the index, what to look at and to label.

import { collections } from "./api.js";
import { h } from "./dom.js";
import { outliers, representatives, worthLabelling } from "./curation.js";
import { counted } from "./format.js";
import { doubts } from "./labels.js";
import { versions } from "./models.js";
import { recall } from "./recall.js";
import { reindexing } from "./reindex.js";
import { to } from "./router.js";

export const title = "Admin";

export async function show({ main, heading, signal }) {
  const { items } = await collections(signal);
  const pictures = items.reduce((sum, { images }) => sum + images, 0);
  heading.after(h("p", { class: "lead" }, `${counted(pictures, "picture")} in ${counted(items.length, "collection")}. `, h("a", { href: "docs" }, "The API")));
  const redraw = () => location.hash === to("admin") && dispatchEvent(new HashChangeEvent("hashchange"));
  // A key that may not see one of them sees the others.
  const parts = [versions(signal, redraw), reindexing(signal), recall(signal), doubts(signal), worthLabelling(signal), outliers(signal), representatives(signal)];
  const refused = (error) => h("p", { class: "trouble" }, error.message);
  main.append(...(await Promise.all(parts.map((part) => part.catch(refused)))));
}
