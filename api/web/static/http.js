// Every request of the page. A refusal is a Refusal, whose message is for people.

import { reason, t } from "./text.js";

export class Refusal extends Error {
  constructor(message, { status = 0, code = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

const LEFT = "umbel-left";
export const NO_ANSWER = "no-answer"; // an event of the window: a request got none
const READING = ["GET", "HEAD"];
let position = null; // of the database after our last change, which what is read next has to include
let session = null; // {signed_in, keys_required, name, scope, collections, csrf_token, trash_days}

/** Who we are: asked once, before anything else. */
export async function openSession() {
  const response = await fetch("v1/session", { headers: { Accept: "application/json" } });
  session = response.ok ? await response.json() : null;
}

const SCOPES = ["read", "upload", "write", "admin"]; // each may what those before it may

/** Whether the caller may do what takes this scope. what: for one collection, or for those that only keys for all may do. */
export function may(scope, { everywhere = false } = {}) {
  const own = SCOPES.indexOf(session?.scope);
  return own >= SCOPES.indexOf(scope) && !(everywhere && session.collections);
}

/** The name of the key that this browser is signed in with, as the audit log has it. */
export const keyName = () => (session?.signed_in ? session.name : null);

export const signedIn = () => Boolean(session?.signed_in && session.csrf_token);

/** The address of the view that was left to sign in, once. */
export function leftAt() {
  const address = sessionStorage.getItem(LEFT);
  sessionStorage.removeItem(LEFT);
  return address;
}

/** For how many days what is deleted can be restored; 0: not at all. */
export const trashDays = () => session?.trash_days ?? 0;

/** The collection that is meant where none is named: with a key for some, the first of them. */
export const ownCollection = () => session?.collections?.[0] ?? null;

export async function signOut() {
  await request("v1/session", { method: "DELETE" });
  location.assign("signin");
}

/** The JSON that a request is answered with, null for none. body: an object, or a FormData. */
export async function request(path, { method = "GET", body = null, signal = null } = {}) {
  const headers = { Accept: "application/json" };
  if (!READING.includes(method) && session?.csrf_token) headers["X-CSRF-Token"] = session.csrf_token;
  if (body && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  if (position) headers["Umbel-Position"] = position;
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    dispatchEvent(new Event(NO_ANSWER));
    throw new Refusal(t("noAnswerFromServer"));
  }
  position = response.headers.get("Umbel-Position") ?? position;
  if (response.status === 401) {
    sessionStorage.setItem(LEFT, location.hash); // where to go on after signing in
    location.assign("signin");
    throw new Refusal(t("signInFirst"), { status: 401 });
  }
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const fields = Object.values(problem.errors ?? {}).flatMap((place) =>
    Object.entries(place).map(([name, messages]) => `${name}: ${[messages].flat().join(" ")}`),
  );
  const detail = [problem.detail || response.statusText || t("error", { status: String(response.status) }), ...fields].join(" ");
  const message = await reason(problem.code, detail);
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return new Refusal(message, { status: response.status, code: problem.code, retryAfter });
}

/** A path with those of the parameters that are set. */
export function url(path, parameters = {}) {
  const set = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(set).toString();
  return query ? `${path}?${query}` : path;
}

export function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined || value === "") continue;
    if (value instanceof Blob) data.append(name, value, /** @type {File} */ (value).name || "pasted");
    else data.append(name, value);
  }
  return data;
}
