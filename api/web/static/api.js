// The API as the page uses it.

import { form, request, url } from "./http.js";

const post = (path, body = {}, signal = null) => request(path, { method: "POST", body, signal });

export const ready = async () => (await fetch("readyz")).json();
export const pageOfCollections = (parameters, signal) => request(url("v1/collections", parameters), { signal });
export const collections = (signal) => pageOfCollections({ limit: 500 }, signal);

export const images = (parameters, signal) => request(url("v1/images", parameters), { signal });
export const collection = (name, signal) => request(`v1/collections/${name}`, { signal });
export const makeCollection = (asked) => post("v1/collections", asked);
export const changeCollection = (name, changes) => request(`v1/collections/${name}`, { method: "PATCH", body: changes });
export const removeCollection = (name) => request(`v1/collections/${name}`, { method: "DELETE" });
export const calibration = (name, signal) => request(`v1/collections/${name}/calibration`, { signal });
export const facets = (parameters, signal) => request(url("v1/facets", parameters), { signal });
export const image = (id, signal) => request(`v1/images/${id}`, { signal });
export const upload = (fields) => post("v1/images", form(fields));
export const change = (id, changes) => request(`v1/images/${id}`, { method: "PATCH", body: changes });
export const remove = (id) => request(`v1/images/${id}`, { method: "DELETE" });
export const changeMany = (ids, changes) => request("v1/images", { method: "PATCH", body: { ids, ...changes } });
export const removeMany = (ids) => request("v1/images", { method: "DELETE", body: { ids } });
export const trash = (parameters, signal) => request(url("v1/trash", parameters), { signal });
export const restore = (chosen) => post("v1/trash:restore", chosen);
export const purge = (chosen) => request("v1/trash", { method: "DELETE", body: chosen });
// Relative, as all addresses of the page: it may be served below the path of another site.
export const file = (id) => `v1/images/${id}/file`;
export const thumbnail = (id) => `v1/images/${id}/thumbnail`;

export const openImport = (options) => post("v1/imports", options);
export const files = () => request("files.json");
export const importFile = (fields) => post("v1/imports", form(fields));
export const close = (job) => post(`v1/jobs/${job}/close`);

export const search = (query, signal) => post("v1/search", query, signal);
export const searchFile = (fields, signal) => post("v1/search", form(fields), signal);
export const similar = (id, parameters, signal) => request(url(`v1/images/${id}/similar`, parameters), { signal });
export const identify = (query, signal) => post("v1/identify", query, signal);
export function identifyFiles(files, collection, signal) {
  const data = form({ collection });
  for (const file of files) data.append("file", file, file.name || "pasted");
  return post("v1/identify", data, signal);
}

export const jobs = (parameters, signal) => request(url("v1/jobs", parameters), { signal });
export const job = (id, signal, wait = 0) => request(url(`v1/jobs/${id}`, { wait: wait || null }), { signal });
export const items = (id, parameters, signal) => request(url(`v1/jobs/${id}/items`, parameters), { signal });
export const steer = (id, verb) => post(`v1/jobs/${id}/${verb}`);

export const map = (collection, signal) => request(url("v1/map", { collection }), { signal });
export const computeMap = (collection) => post("v1/map", collection ? { collection } : {});

export const duplicates = (parameters, signal) => request(url("v1/duplicates", parameters), { signal });
export const compare = (collection) => post("v1/duplicates", collection ? { collection } : {});
export const outliers = (parameters, signal) => request(url("v1/outliers", parameters), { signal });
export const representatives = (parameters, signal) => request(url("v1/representatives", parameters), { signal });
export const labelNext = (parameters, signal) => request(url("v1/label-next", parameters), { signal });
export const labelIssues = (parameters, signal) => request(url("v1/label-issues", parameters), { signal });

export const models = (signal) => request("v1/models", { signal });
export const steerModel = (id, verb) => post(`v1/models/${id}/${verb}`);
export const model = (id, signal) => request(`v1/models/${id}`, { signal });
export const reindex = (options) => post("v1/admin/reindex", options);
export const audit = (parameters, signal) => request(url("v1/admin/audit", parameters), { signal });
export const recalls = (signal) => request("v1/admin/recall?limit=5", { signal });
export const measureRecall = (options) => post("v1/admin/recall", options);

export const keys = (parameters, signal) => request(url("v1/admin/keys", parameters), { signal });
export const makeKey = (asked) => post("v1/admin/keys", asked);
export const revokeKey = (id) => request(`v1/admin/keys/${id}`, { method: "DELETE" });

export const webhooks = (parameters, signal) => request(url("v1/webhooks", parameters), { signal });
export const addWebhook = (asked) => post("v1/webhooks", asked);
export const removeWebhook = (id) => request(`v1/webhooks/${id}`, { method: "DELETE" });
export const steerWebhook = (id, verb) => post(`v1/webhooks/${id}/${verb}`);
export const replayWebhook = (id, since) => post(`v1/webhooks/${id}/replay`, { since });
export const deliveries = (id, parameters, signal) => request(url(`v1/webhooks/${id}/deliveries`, parameters), { signal });
export const replayDelivery = (id, delivery) => post(`v1/webhooks/${id}/deliveries/${delivery}/replay`);

export const syncs = (parameters, signal) => request(url("v1/syncs", parameters), { signal });
export const addSync = (asked) => post("v1/syncs", asked);
export const removeSync = (id) => request(`v1/syncs/${id}`, { method: "DELETE" });
export const runSync = (id, options) => post(`v1/syncs/${id}/run`, options);
export const steerSync = (id, verb) => post(`v1/syncs/${id}/${verb}`);
