// Labels that the neighbours doubt: each with what they suggest, and why.

import * as api from "./api.js";
import { action, h } from "./dom.js";
import { counted, number, percent } from "./format.js";
import { forget } from "./gallery.js";
import { to } from "./router.js";
import { tried } from "./say.js";
import { thumb } from "./tiles.js";

const PAGE = 12;

export async function doubts(signal) {
  const list = h("ul", { class: "doubts" });
  const more = h("p", { class: "load-more" });
  const lead = h("p", { class: "faint" });
  let cursor = null;
  const load = async () => {
    const page = await api.labelIssues({ limit: PAGE, cursor }, signal);
    cursor = page.next_cursor;
    list.append(...page.items.map(issue));
    more.replaceChildren(cursor ? action("More", load, { quiet: true }) : "");
    lead.replaceChildren(
      page.compared ? `${counted(page.compared, "picture")} compared${page.waiting ? `, ${number(page.waiting)} not yet` : ""}. ` : "Nothing was compared yet. ",
      page.items.length || !page.compared ? "" : "No label is in doubt. ",
      h("a", { href: to("duplicates") }, "Compare"),
    );
  };
  await load();
  return h("section", { "aria-labelledby": "labels-title" }, h("h2", { id: "labels-title" }, "Doubtful labels"), lead, list, more);
}

function issue({ image_id: id, label, suggested_label: suggested, label_error_probability: probability, evidence }) {
  const item = h("li", {});
  const accept = async () => {
    if (!(await tried(() => api.change(id, { label: suggested }), `Labelled ${suggested}.`))) return;
    forget();
    item.remove();
  };
  item.append(
    h("a", { href: to(`image/${id}`) }, h("img", { src: api.thumbnail(id), alt: label, loading: "lazy" })),
    h(
      "div",
      {},
      h("p", {}, h("del", {}, label), " → ", h("strong", {}, suggested), " ", h("span", { class: "faint" }, percent(probability))),
      h("div", { class: "thumbs" }, evidence.slice(0, 6).map((one) => thumb(one.image_id, one.label))),
    ),
    action(`Set to ${suggested}`, accept, { quiet: true }),
  );
  return item;
}
