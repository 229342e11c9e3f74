// What happens on the server, as it happens: what shows a job looks again when it was told to, or else now and then.

const TYPES = ["job.queued", "job.running", "job.paused", "job.resumed", "job.finished", "job.failed", "job.cancelled", "image.indexed", "image.failed", "image.changed", "image.deleted", "image.restored"];
const SLOW_MS = 15_000; // between two looks while the stream is there: it tells of no index, say
const watches = new Set();
let source = null;

/** One stream for all that is shown; none while nothing is, or the tab is hidden: browsers open few connections. */
function adjust() {
  if (watches.size && !document.hidden) {
    if (source) return;
    source = new EventSource(`v1/events?types=${TYPES.join(",")}`);
    for (const type of TYPES) source.addEventListener(type, ({ data }) => tell(JSON.parse(data).data.job_id));
    // It connects again by itself, and resumes; what is refused stays closed, and is asked for with the next view.
    source.onerror = () => tell();
  } else {
    source?.close();
    source = null;
  }
}

function tell(job = null) {
  for (const watch of watches) watch.tell(job);
}

document.addEventListener("visibilitychange", adjust);

const pause = (milliseconds, signal) =>
  new Promise((go) => {
    const timer = setTimeout(go, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), go(null)), { once: true });
  });

/** Waits for news of a job, or of any. */
export class Watch {
  #told = false;
  #wake = (_) => {};

  constructor(job = null, signal = null) {
    this.job = job;
    this.signal = signal;
    watches.add(this);
    if (source?.readyState === EventSource.CLOSED) source = null;
    adjust();
    signal?.addEventListener("abort", () => this.end(), { once: true });
  }

  tell(job) {
    if (job && this.job && job !== this.job) return;
    this.#told = true;
    this.#wake(null);
  }

  /** Until there are news, but at least so long; so long, without a stream or where no events tell of it. */
  async news(milliseconds, { poll = false } = {}) {
    await pause(milliseconds, this.signal);
    if (!poll && !this.#told && !this.signal?.aborted && source?.readyState === EventSource.OPEN) {
      await Promise.race([new Promise((go) => (this.#wake = go)), pause(SLOW_MS, this.signal)]);
    }
    this.#told = false;
  }

  end() {
    watches.delete(this);
    this.#wake(null);
    adjust();
  }
}

// Kinds of jobs whose progress events tell of; of the others they tell when they begin and end.
const TOLD = ["upload", "import", "repair", "sync"];
export const POLL = "poll";

/** What `look` returns where one of the jobs that it shows has progress that no event tells of. */
export const pollFor = (jobs) => jobs.some(({ type, finished_at: ended }) => !ended && !TOLD.includes(type)) && POLL;

const PASSING = [0, 429, 502, 503, 504]; // of refusals: the server is away or busy, and comes back
const AWAY_MS = 2_000;

async function outlast(error) {
  if (!PASSING.includes(error.status)) throw error;
  await pause(AWAY_MS);
  return POLL;
}

/** Call `look` when there are news of a job, or of any, until it returns true, or `signal` says that the view is closed.
    It goes on while the server does not answer. */
export async function follow(look, milliseconds, signal, job = null) {
  const watch = new Watch(job, signal);
  let poll = true; // the stream has yet to begin
  do {
    await watch.news(milliseconds, { poll });
    const seen = signal.aborted || (await Promise.resolve().then(look).catch(outlast));
    if (seen && seen !== POLL) break;
    poll = seen === POLL;
  } while (!signal.aborted);
  watch.end();
}
