// One label for many pictures.

import * as api from "./api.js";
import { work } from "./bulk.js";
import { say, tried } from "./say.js";
import { t } from "./text.js";

/** Label them, and say how far it is. label: null removes it. Returns whether any have it now. */
export async function relabel(ids, label) {
  const done = await tried(() => work(ids, (some) => api.changeMany(some, { label }), t("labelling")));
  if (!done) return false;
  if (done.failed) say(t("notLabelled", { count: done.failed }), { bad: true });
  else say(t("picturesLabelled", { count: done.done, label }));
  return done.done > 0;
}
