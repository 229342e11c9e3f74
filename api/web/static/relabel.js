// One label for many pictures.

import * as api from "./api.js";
import { counted, number } from "./format.js";
import { say } from "./say.js";

const AT_A_TIME = 4;

/** Label them, and say how far it is. Returns the ids of those that have the label now. */
export async function relabel(ids, label) {
  const waiting = [...ids];
  const done = [];
  let reason = "";
  const work = async () => {
    for (let id = waiting.pop(); id; id = waiting.pop()) {
      await api.change(id, { label }).then(() => done.push(id), (error) => (reason = error.message));
      if (waiting.length && waiting.length % 50 === 0) say(`${number(ids.length - waiting.length)} of ${number(ids.length)} labelled…`);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const failed = ids.length - done.length;
  if (failed) say(`${counted(failed, "picture")} could not be labelled: ${reason}`, { bad: true });
  else say(label ? `${counted(ids.length, "picture")} labelled ${label}.` : `The label of ${counted(ids.length, "picture")} was removed.`);
  return done;
}
