// For whoever runs the service: model versions, reindexes, the recall of the index, doubtful labels.

import { collections } from "./api.js";
import { h } from "./dom.js";
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
  heading.after(h("p", { class: "lead" }, `${counted(pictures, "picture")} in ${counted(items.length, "collection")}. `, h("a", { href: "/docs" }, "The API")));
  const redraw = () => location.hash === to("admin") && dispatchEvent(new HashChangeEvent("hashchange"));
  main.append(
    await versions(signal, redraw),
    await reindexing(signal),
    await recall(signal),
    await doubts(signal),
  );
}
