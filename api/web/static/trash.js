// Deleting pictures, and bringing them back.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { ended, work } from "./bulk.js";
import { trashDays } from "./http.js";
import { say, tried } from "./say.js";
import { t } from "./text.js";

/** For a question before something is deleted. */
const fate = () => (trashDays() ? t("fateFor", { days: t("days", { count: trashDays() }) }) : t("cannotBeUndone"));

/**
 * Ask, delete pictures and say so, with a way back. restored(): they have come back.
 * Returns whether they are gone.
 */
export async function remove(ids, { question, text = "", restored }) {
  const single = ids.length === 1; // which needs no job
  if (!(await ask(question, `${text} ${fate()}`.trim(), single ? t("delete") : t("deleteCount", { count: ids.length })))) return false;
  const gone = await tried(() => (single ? api.remove(ids[0]).then(() => ({ jobs: [], done: 1, failed: 0 })) : work(ids, api.removeMany, t("deleting"))));
  if (!gone?.done) return false;
  const undo = async () => {
    if (await bringBack(single ? [{ ids }] : gone.jobs.map((job) => ({ job_id: job })))) restored();
  };
  say([t("picturesDeleted", { count: gone.done }), gone.failed && t("goneAlready", { count: gone.failed })].filter(Boolean).join(" "), { undo: trashDays() ? undo : null });
  return true;
}

/** Restore what is chosen in the trash. chosen: [{ids}, {job_id} or {filter}, …]. Returns whether any came back. */
export async function bringBack(chosen) {
  const back = await tried(async () => {
    const begun = await Promise.all(chosen.map((some) => api.restore(some)));
    return ended(begun.map((one) => one.job_id), t("restoring"));
  });
  if (!back) return false;
  if (back.failed) say(t("notRestored", { count: back.failed }), { bad: true });
  else say(t("restored", { count: back.done }));
  return back.done > 0;
}
