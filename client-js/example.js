// Uploads a picture, waits until it can be found, and looks for what is like it: node example.js photo.jpg
import { openAsBlob } from "node:fs";
import { Problem, createUmbel } from "umbel-client";

const umbel = createUmbel({ url: process.env.UMBEL_URL, key: process.env.UMBEL_KEY });
const photo = await openAsBlob(process.argv[2]);

const accepted = await umbel.upload(photo, { label: "rose", metadata: { camera: "X100V" } });
if (accepted.job_id) {
  const job = await umbel.wait(accepted.job_id); // null where the gallery had the picture already
  console.log(job.status, job.counts.indexed);
}

const found = await umbel.search(photo, { k: 5 });
for (const match of found.matches) console.log(match.similarity.toFixed(2), match.label);

// Every other route by its path, typed by the specification.
const { data } = await umbel.GET("/v1/facets", { params: { query: { by: "label" } } });
console.log(JSON.stringify(data?.values.map(({ value, count }) => [value, count])));

try {
  await umbel.GET("/v1/collections/{name}", { params: { path: { name: "meadow" } } });
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  console.log(error.status, error.code);
}
