// What is told once: shown until it is put away, and copied by a button.

import { action, h } from "./dom.js";
import { say } from "./say.js";
import { t } from "./text.js";

/** Show a secret in `place`. text: what it is for; back: has the focus once it is put away. */
export function showSecret(place, title, text, value, back) {
  const shown = h("input", { type: "text", value, readOnly: true, spellcheck: false, "aria-label": title, class: "code" });
  shown.addEventListener("focus", () => shown.select());
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value);
      say(t("copied"));
    } catch {
      shown.focus(); // selected, to be copied by hand: plain http gives pages no clipboard
      say(t("copySelected"));
    }
  };
  const away = () => {
    place.replaceChildren();
    back.focus();
  };
  const section = h(
    "section",
    { class: "secret", role: "alert" },
    h("h3", {}, title),
    h("p", {}, text, h("strong", {}, t("notShownAgain"))),
    h("div", { class: "actions" }, shown, action(t("copy"), copy, { symbol: "copy" }), action(t("keptIt"), away, { quiet: true })),
  );
  place.replaceChildren(section);
  section.querySelector("button").focus();
}
