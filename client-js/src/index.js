// The client: createUmbel({ url, key }). Every route by its path, typed, and what takes more than one request.

import createClient from "openapi-fetch";

const HERE = "http://127.0.0.1:8080";
const POSITION = "Umbel-Position";
const AGAIN = [429, 503]; // nothing was done: Retry-After says when to try again
const LONGEST_PAUSE = 60; // seconds

/** What the service refused, for programs by its `code`. */
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The answer is ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.code = problem.code ?? "";
    this.type = problem.type ?? "";
    this.errors = problem.errors ?? {};
    this.requestId = problem.request_id ?? null;
  }
}

export function createUmbel({ url = HERE, key, retries = 4, fetch = globalThis.fetch } = {}) {
  const baseUrl = url.replace(/\/+$/, "");
  let position = null; // of the database after our last change, which later reads have to see
  const client = createClient({
    baseUrl,
    headers: key ? { Authorization: `Bearer ${key}` } : {},
    fetch: (request) => patientFetch(request, retries, fetch),
  });
  client.use({
    onRequest({ request }) {
      if (position) request.headers.set(POSITION, position);
    },
    async onResponse({ response }) {
      position = response.headers.get(POSITION) ?? position;
      if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
    },
  });
  return {
    ...client,

    async upload(picture, fields = {}) {
      const headers = { "Idempotency-Key": globalThis.crypto.randomUUID() };
      const sent =
        picture instanceof Blob
          ? { body: formOf({ ...fields, file: picture }), bodySerializer: (form) => form }
          : { body: { ...fields, url: String(picture) } };
      return (await client.POST("/v1/images", { ...sent, headers })).data;
    },

    async search(query, options = {}) {
      const isPicture = query instanceof Blob;
      const body = isPicture ? formOf({ ...options, file: query }) : { ...options, ...query };
      const sent = isPicture ? { body, bodySerializer: (form) => form } : { body };
      return (await client.POST("/v1/search", sent)).data;
    },

    async wait(jobId, { signal } = {}) {
      for (;;) {
        const params = { path: { job_id: jobId }, query: { wait: 30 } };
        const { data } = await client.GET("/v1/jobs/{job_id}", { params, signal });
        if (data.finished_at) return data;
      }
    },
  };
}

/** As fetch, but again where the service says that it did nothing and is worth asking later. */
async function patientFetch(request, retries, fetch) {
  for (let left = retries, pause = 0.2; ; left -= 1, pause *= 2) {
    const response = await fetch(request.clone());
    if (left <= 0 || !AGAIN.includes(response.status)) return response;
    const told = Number(response.headers.get("Retry-After"));
    await response.body?.cancel();
    const seconds = Math.min(told > 0 ? told : pause, LONGEST_PAUSE);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    request.signal.throwIfAborted();
  }
}

/** A form of the fields that are given; objects as JSON. */
function formOf(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue;
    form.append(name, value instanceof Blob || typeof value !== "object" ? value : JSON.stringify(value));
  }
  return form;
}
