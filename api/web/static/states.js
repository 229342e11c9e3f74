// The states that the API tells, in words; what is not listed is shown as it is told.

import { t } from "./text.js";

/** Of jobs and their phases. */
export const STATUSES = {
  queued: t("queued"),
  running: t("running"),
  paused: t("paused"),
  succeeded: t("succeeded"),
  partial: t("partial"),
  failed: t("failed"),
  cancelled: t("cancelled"),
  cancelling: t("cancelling"),
  retrying: t("retrying"),
  listing: t("listing"),
  embedding: t("embedding"),
  indexing: t("indexing"),
  evaluating: t("evaluating"),
  switching: t("switching"),
  comparing: t("comparing"),
  deleting: t("isDeleting"),
  drawing: t("drawing"),
  changing: t("changing"),
  removing: t("isRemoving"),
  purging: t("purging"),
  restoring: t("isRestoring"),
  done: t("done"),
};

export const IMAGE_STATES = { pending: t("pending"), indexed: t("indexed"), failed: t("failed") };

export const MODEL_STATES = { active: t("active"), ready: t("isReady"), registered: t("registered"), backfilling: t("backfilling"), retired: t("isRetired") };

export const DELIVERY_STATES = { pending: t("pending"), delivered: t("delivered"), failed: t("givenUp") };

/** Of outliers. */
export const ASSESSMENTS = {
  "like nothing else here": t("likeNothingElse"),
  "very unlike the rest": t("veryUnlike"),
  "unlike the rest": t("unlike"),
  "unlike the rest, which are copies": t("unlikeCopies"),
  "as usual": t("asUsual"),
};
