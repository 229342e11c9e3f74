// Files out of what was dropped, pasted or chosen, folders included.

const ARCHIVE = /\.(zip|tar|tgz|tbz2?|txz|tlz|tar\.(gz|bz2|xz|lzma)|csv|tsv|jsonl|ndjson)$/i;
const LOOKED_AT = 64; // bytes that tell

const isArchive = (file) => ARCHIVE.test(file.name);

/**
 * {pictures: [{file, path}], archives: [file], others, unread}: sorted by what they are, the rest of a folder counted.
 *
 * rules: what the server says of files; includeHidden: also what is hidden, or kept there by systems and programs.
 */
export async function sorted(entries, rules, { includeHidden = false } = {}) {
  const given = ({ path }) => !path.includes("/");
  const read = entries.filter(({ file }) => file);
  const archives = read.filter((entry) => given(entry) && isArchive(entry.file)).map(({ file }) => file);
  const rest = read.filter((entry) => !(given(entry) && isArchive(entry.file)));
  const skipped = new RegExp(rules.skipped, "i");
  const pictures = [];
  for (const entry of rest) {
    // What was given by itself is sent whatever it is: the server says what is wrong with it.
    if (given(entry) || ((includeHidden || !skipped.test(entry.path)) && (await isPicture(entry.file, rules)))) pictures.push(entry);
  }
  return { pictures, archives, others: rest.length - pictures.length, unread: entries.length - read.length };
}

async function isPicture(file, { pictures, others, signatures }) {
  const suffix = /\.([a-z0-9]+)$/i.exec(file.name)?.[1].toLowerCase() ?? "";
  if (pictures.includes(suffix)) return true;
  if (others.includes(suffix)) return false;
  const start = await file.slice(0, LOOKED_AT).arrayBuffer().catch(() => new ArrayBuffer(0));
  return new RegExp(signatures).test(String.fromCharCode(...new Uint8Array(start)));
}

export const chosen = (files) =>
  [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name || "pasted picture" }));

/** Everything that was dropped. Call it in the event itself: what it carries is gone after. */
export async function dropped(transfer) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!roots.some((root) => root.isDirectory)) return chosen(transfer.files);
  return (await Promise.all(roots.map((root) => walked(root, "")))).flat();
}

async function walked(entry, folder) {
  const path = folder ? `${folder}/${entry.name}` : entry.name;
  if (entry.isFile) {
    // What the browser may not read stops nothing else.
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    return [{ file, path }];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((done) => reader.readEntries(done, () => done(null))); // a hundred at a time
    if (!some) return [{ file: null, path }];
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map((each) => walked(each, path)))).flat();
}
