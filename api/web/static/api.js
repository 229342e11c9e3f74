// The API as the page uses it. Every refusal is an Error whose message is for people.

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("No answer from the server.");
  }
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || response.statusText);
  return body;
}

function form(file, fields = {}) {
  const data = new FormData();
  data.append("file", file, file.name || "pasted");
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  return { method: "POST", body: data };
}

export const images = (cursor) => answer(`/v1/images?limit=60${cursor ? `&cursor=${cursor}` : ""}`);
export const upload = (file) => answer("/v1/images", form(file));
export const job = (id) => answer(`/v1/jobs/${id}?wait=20`);
export const failures = (id) => answer(`/v1/jobs/${id}/items?status=failed&limit=1`);
export const similar = (id) => answer(`/v1/images/${id}/similar?k=24`);
export const search = (file) => answer("/v1/search", form(file, { k: 24 }));
export const ready = async () => (await fetch("/readyz")).json();
