// What happened, in a line that is seen and that screen readers speak.

import { h } from "./dom.js";
import { t } from "./text.js";

const SECONDS = 6;
const TO_UNDO_SECONDS = 12;
let timer = 0;

/** undo: what takes back what happened; there is a button for it while the line is seen. */
export function say(text, { bad = false, undo = null } = {}) {
  const line = document.getElementById("said");
  line.replaceChildren(text, ...(undo ? [" ", h("button", { type: "button", class: "undo", onclick: undo }, t("undo"))] : []));
  line.classList.toggle("bad", bad);
  line.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => line.classList.remove("shown"), (undo ? TO_UNDO_SECONDS : SECONDS) * 1000);
}

/** Run an act and say what it says, or why it did not come to be. Its answer, undefined after a refusal. */
export async function tried(act, done = null) {
  try {
    const answer = await act();
    if (done) say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, { bad: true });
    return undefined;
  }
}
