import type { Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type { components, paths };
type Schemas = components["schemas"];

export type Accepted = Schemas["AcceptedOut"];
export type Image = Schemas["ImageOut"];
export type Job = Schemas["JobOut"];
export type Match = Schemas["MatchOut"];
export type SearchResult = Schemas["SearchOut"];
export type SearchOptions = Omit<Schemas["SearchFormIn"], "file">;
export type UploadFields = Partial<Omit<Schemas["UploadUrlIn"], "url" | "metadata">> & {
  metadata?: Record<string, unknown>;
};

/** What the service refused. `code` is stable and for programs, `message` for people. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly type: string;
  readonly errors: Record<string, Record<string, string[]>>;
  readonly requestId: string | null;
}

export interface Options {
  /** Of the service; unset: http://127.0.0.1:8080. */
  url?: string;
  /** A key, where the service has keys. */
  key?: string;
  /** Further tries after 429 and 503, as late as Retry-After says. */
  retries?: number;
  /** Instead of the global one. */
  fetch?: typeof globalThis.fetch;
}

/**
 * A client of one service. `GET`, `POST`, `PATCH`, `DELETE` take each route of the specification by its path, and are typed by it;
 * what the service refuses is thrown as a `Problem`.
 */
export interface Umbel extends Client<paths> {
  /** Upload a picture, or have the service fetch it from a URL; `wait` for its job until searches can find it. */
  upload(picture: Blob | URL | string, fields?: UploadFields): Promise<Accepted>;
  /** The most similar images: to a picture, or to what a JSON search names. */
  search(query: Blob | Schemas["SearchIn"], options?: SearchOptions): Promise<SearchResult>;
  /** A job, as soon as it has finished. */
  wait(jobId: string, options?: { signal?: AbortSignal }): Promise<Job>;
}

export function createUmbel(options?: Options): Umbel;
