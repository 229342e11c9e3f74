// Labels that the neighbours doubt: each with what they suggest, and why.

import * as api from "./api.js";
import { action, h, titled } from "./dom.js";
import { percent } from "./format.js";
import { forget } from "./gallery.js";
import { to } from "./router.js";
import { tried } from "./say.js";
import { t } from "./text.js";
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
    more.replaceChildren(cursor ? action(t("more"), load, { quiet: true }) : "");
    lead.replaceChildren(
      page.compared ? `${page.waiting ? t("comparedBut", { count: page.compared, waiting: page.waiting }) : t("compared", { count: page.compared })} ` : t("nothingCompared"),
      page.items.length || !page.compared ? "" : t("noLabelInDoubt"),
      h("a", { href: to("duplicates") }, t("compare")),
    );
  };
  await load();
  return titled("labels", t("doubtfulLabels"), lead, list, more);
}

function issue({ image_id: id, label, suggested_label: suggested, label_error_probability: probability, evidence }) {
  const item = h("li", {});
  const accept = async () => {
    if (!(await tried(() => api.change(id, { label: suggested }), t("labelledAs", { label: suggested })))) return;
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
    action(t("setTo", { label: suggested }), accept, { quiet: true }),
  );
  return item;
}
