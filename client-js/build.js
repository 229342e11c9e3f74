// Makes src/schema.d.ts, the types of all routes, of the specification: node build.js openapi.json
// Without examples, and with one type for all problems: a fourth of the size.

import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const PROBLEM = {
  description: "A problem",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/ProblemOut" } } },
};

const [source] = process.argv.slice(2);
const specification = withoutExamples(JSON.parse(await readFile(source, "utf8")));
for (const path of Object.values(specification.paths)) {
  for (const { responses } of Object.values(path).filter((operation) => operation.responses)) {
    const failures = Object.keys(responses).filter((status) => status >= "400");
    for (const status of failures) delete responses[status];
    if (failures.length) responses.default = PROBLEM;
  }
}
const types = astToString(await openapiTS(specification, { defaultNonNullable: false }));
await writeFile(new URL("src/schema.d.ts", import.meta.url), `// Made by build.js of the specification.\n${types}`);

/** A copy of a part of the specification. A property may be called "examples" as well: those are objects with a type. */
function withoutExamples(part) {
  if (Array.isArray(part)) return part.map(withoutExamples);
  if (part === null || typeof part !== "object") return part;
  const kept = Object.entries(part).filter(
    ([name, value]) => !["example", "examples"].includes(name) || value?.type || value?.$ref || value?.anyOf,
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, withoutExamples(value)]));
}
