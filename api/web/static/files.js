// Files out of what was dropped, pasted or chosen, folders included.

const PICTURE = /\.(jpe?g|png|webp)$/i;
const ARCHIVE = /\.(zip|tar|tgz|tar\.(gz|bz2|xz)|csv|jsonl)$/i;

const isArchive = (file) => ARCHIVE.test(file.name);

/** {pictures: [{file, path}], archives: [file], others}: sorted by what they are, other files of a folder counted. */
export function sorted(entries) {
  const archives = entries.filter(({ file, path }) => isArchive(file) && !path.includes("/")).map(({ file }) => file);
  const rest = entries.filter(({ file }) => !isArchive(file));
  // What was given by itself is sent whatever it is: the server says what is wrong with it.
  const pictures = rest.filter(({ file, path }) => !path.includes("/") || file.type.startsWith("image/") || PICTURE.test(file.name));
  return { pictures, archives, others: rest.length - pictures.length };
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
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{ file, path }];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // a hundred at a time
    if (!some.length) break;
    inside.push(...some);
  }
  return (await Promise.all(inside.map((each) => walked(each, path)))).flat();
}
