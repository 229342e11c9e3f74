// One label for many pictures.

import * as api from "./api.js";
import { work } from "./bulk.js";
import { counted } from "./format.js";
import { say, tried } from "./say.js";

/** Label them, and say how far it is. label: null removes it. Returns whether any have it now. */
export async function relabel(ids, label) {
  const done = await tried(() => work(ids, (some) => api.changeMany(some, { label }), "Labelling"));
  if (!done) return false;
  if (done.failed) say(`${counted(done.failed, "picture")} could not be labelled: Jobs says why.`, { bad: true });
  else say(`${counted(done.done, "picture")} labelled ${label}.`);
  return done.done > 0;
}
