// A question before something that cannot be undone.

import { h } from "./dom.js";
import { t } from "./text.js";

/** True once people have said yes. */
export function ask(title, text, yes) {
  const dialog = h(
    "dialog",
    { class: "ask", "aria-labelledby": "ask-title" },
    h("h2", { id: "ask-title" }, title),
    h("p", {}, text),
    h(
      "form",
      { method: "dialog", class: "actions" },
      h("button", { class: "quiet", value: "no" }, t("cancel")),
      h("button", { class: "danger", value: "yes" }, yes),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    }),
  );
}
