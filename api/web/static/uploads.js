// Pictures on their way in: each tile shows its way through queued, embedding, done, or why not.

import * as api from "./api.js";
import { tile } from "./tiles.js";

const AT_A_TIME = 4;

export async function add(files, section, list, done) {
  section.hidden = false;
  const waiting = [...files].map((file) => {
    const item = tile(URL.createObjectURL(file), { label: file.name, note: "waiting" });
    list.prepend(item);
    return [file, item];
  });
  const send = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await follow(...next);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, send));
  done();
}

async function follow(file, item) {
  try {
    item.say("sending");
    const accepted = await api.upload(file);
    if (accepted.status === "duplicate") return item.say("known already");
    item.say("queued");
    let job = await api.job(accepted.job_id);
    while (!job.finished_at) job = await api.job(accepted.job_id);
    if (job.status === "succeeded") return item.say("done");
    const failed = await api.failures(accepted.job_id);
    item.say(failed.items[0]?.error ?? job.status, true);
  } catch (error) {
    item.say(error.message, true);
  }
}
