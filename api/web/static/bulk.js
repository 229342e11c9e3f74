// Work on many pictures at once, by jobs: begun, told how far they are, awaited.

import * as api from "./api.js";
import { follow, POLL } from "./live.js";
import { say } from "./say.js";
import { t } from "./text.js";

const MOST = 10_000; // pictures of one job
const LOOK_MS = 250;

/**
 * Begin a job for these pictures, or as many as it takes, and wait for their ends. doing: such as "Deleting".
 * Returns {jobs, done, failed}: the jobs, and how many pictures each way.
 */
export async function work(ids, begin, doing) {
  const jobs = [];
  for (let at = 0; at < ids.length; at += MOST) jobs.push((await begin(ids.slice(at, at + MOST))).job_id);
  return ended(jobs, doing);
}

/** Wait for the ends of jobs, wherever people go meanwhile. */
export async function ended(jobs, doing) {
  let counts = [];
  const look = async () => {
    const seen = await Promise.all(jobs.map((job) => api.job(job)));
    counts = seen.map((job) => job.counts);
    const [total, pending] = [sum(counts, "total"), sum(counts, "pending")];
    if (seen.every((job) => job.finished_at)) return true;
    say(total ? t("doingOf", { doing, done: total - pending, total }) : `${doing}…`);
    return POLL;
  };
  await follow(look, LOOK_MS, new AbortController().signal);
  return { jobs, done: sum(counts, "indexed"), failed: sum(counts, "total") - sum(counts, "indexed") };
}

const sum = (counts, name) => counts.reduce((total, one) => total + one[name], 0);
