// Deleting pictures, and bringing them back.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { ended, work } from "./bulk.js";
import { counted } from "./format.js";
import { trashDays } from "./http.js";
import { say, tried } from "./say.js";

/** For a question before something is deleted. */
const fate = () => (trashDays() ? `For ${counted(trashDays(), "day")} they can be restored.` : "This cannot be undone.");

/**
 * Ask, delete pictures and say so, with a way back. restored(): they have come back.
 * Returns whether they are gone.
 */
export async function remove(ids, { question, text = "", restored }) {
  const single = ids.length === 1; // which needs no job
  if (!(await ask(question, `${text} ${fate()}`.trim(), single ? "Delete" : `Delete ${ids.length}`))) return false;
  const gone = await tried(() => (single ? api.remove(ids[0]).then(() => ({ jobs: [], done: 1, failed: 0 })) : work(ids, api.removeMany, "Deleting")));
  if (!gone?.done) return false;
  const undo = async () => {
    if (await bringBack(single ? [{ ids }] : gone.jobs.map((job) => ({ job_id: job })))) restored();
  };
  say(`${counted(gone.done, "picture")} deleted.${gone.failed ? ` ${counted(gone.failed, "picture")} were gone already.` : ""}`, { undo: trashDays() ? undo : null });
  return true;
}

/** Restore what is chosen in the trash. chosen: [{ids}, {job_id} or {filter}, …]. Returns whether any came back. */
export async function bringBack(chosen) {
  const back = await tried(async () => {
    const begun = await Promise.all(chosen.map((some) => api.restore(some)));
    return ended(begun.map((one) => one.job_id), "Restoring");
  });
  if (!back) return false;
  if (back.failed) say(`${counted(back.failed, "picture")} could not be restored: Jobs says why.`, { bad: true });
  else say(`${counted(back.done, "picture")} restored.`);
  return back.done > 0;
}
