// What becomes of pictures that are deleted, and how they come back.

import * as api from "./api.js";
import { counted } from "./format.js";
import { trashDays } from "./http.js";
import { say, tried } from "./say.js";

/** For a question before something is deleted. */
export const fate = () => (trashDays() ? `For ${counted(trashDays(), "day")} it can be restored.` : "This cannot be undone.");

/** Say that pictures were deleted; restored() once they are back. */
export function sayDeleted(text, ids, restored) {
  const undo = async () => {
    if (await tried(() => api.restore(ids).then(() => true), "Restored.")) restored();
  };
  say(text, { undo: trashDays() ? undo : null });
}
