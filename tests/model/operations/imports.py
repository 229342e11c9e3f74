"""Imports of archives, folders and lists, with bad files among the good ones; and open ones for uploads."""

import csv
import io
import json
import random
import zipfile
from dataclasses import replace
from typing import Any

from tests.model.metadata import draw_label, draw_metadata, normal
from tests.model.mismatch import expect
from tests.model.operations.uploads import NAMES, _new_number
from tests.model.pictures import BAD, bad_bytes, picture, sha256
from tests.model.reference import Collection, Entry, Job
from tests.model.run import Run

FOLDERS = ("rose", "iris/deep", "тюльпан", "with space")
OTHERS = {"notes.txt": b"of no matter", "rose/.hidden.jpg": b"hidden", "Thumbs.db": b"a system's own"}


def open_import(run: Run, rng: random.Random) -> str:
    """An import whose pictures are uploaded one by one."""
    name, key = rng.choice(NAMES), _key(run, rng)
    run.say(f"open an import into {name}")
    body = {"source": {"type": "upload"}, "collection": name}
    answer = run.server.post("/v1/imports", json=body, headers={"Idempotency-Key": key})
    expect("the status of an import", answer.status, 202, answer=answer)
    job = Job(answer.body["job_id"], "import", run.world.collection(name), closed=False)
    run.world.add_job(job)
    return f"open import {job.id} into {name}"


def import_archive(run: Run, rng: random.Random) -> str:
    """A zip, sent whole."""
    files = _draw_files(run, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return _import(run, rng, "archive", files, file=("many.zip", out.getvalue()))


def import_folder(run: Run, rng: random.Random) -> str:
    """A folder on the server."""
    files = _draw_files(run, rng)
    folder = _written(run, files)
    return _import(run, rng, "folder", files, source={"type": "folder", "path": str(folder)}, top=folder.name)


def import_list(run: Run, rng: random.Random) -> str:
    """A list of files on the server, with labels and metadata; some of them are not there."""
    files = _draw_files(run, rng)
    folder = _written(run, files)
    rows = [
        {"path": path, "label": draw_label(rng), "metadata": draw_metadata(rng)}
        for path in [*(path for path in files if path not in OTHERS), *(["missing.jpg"] if rng.random() < 0.3 else [])]
    ]
    if rng.random() < 0.5:
        text, name = "\n".join(json.dumps(_without_none(row)) for row in rows), "list.jsonl"
    else:
        out, name = io.StringIO(), "list.csv"
        writer = csv.writer(out)
        writer.writerow(["path", "label", "metadata"])
        writer.writerows([row["path"], row["label"] or "", json.dumps(row["metadata"])] for row in rows)
        text = out.getvalue()
    described = {row["path"]: (row["label"], row["metadata"]) for row in rows}
    listed = {path: files.get(path) for path in described}
    options = {"file": (name, text.encode()), "base": str(folder), "described": described}
    return _import(run, rng, "list", listed, **options)


def _draw_files(run: Run, rng: random.Random) -> dict[str, bytes]:
    """{path: bytes}: new pictures, known ones, the same one twice, bad ones, and files that are none."""
    files: dict[str, bytes] = {}
    known = list(run.world.images.values())
    for number in range(rng.choice((1, 3, 8, 20, 40))):
        folder = rng.choice(("", *FOLDERS))
        kind = rng.random()
        if kind < 0.08:
            data = bad_bytes(rng)[0]
        elif kind < 0.15 and known:
            data = rng.choice(known).data
        elif kind < 0.2 and files:
            data = rng.choice(list(files.values()))
        else:
            data = picture(_new_number(run))
        files[f"{folder}/{number:03}.jpg" if folder else f"{number:03}.jpg"] = data
    return {**files, **{path: data for path, data in OTHERS.items() if rng.random() < 0.2}}


def _written(run: Run, files: dict[str, bytes]) -> Any:
    folder = run.target.home / "sources" / f"{len(run.said)}"
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def _import(
    run: Run, rng: random.Random, kind: str, files: dict[str, bytes | None], *, top: str = "",
    file: tuple[str, bytes] | None = None, source: dict[str, str] | None = None, base: str | None = None,
    described: dict[str, tuple[str | None, dict[str, Any]]] | None = None,
) -> str:  # fmt: skip
    name, key, dry_run, from_folder = rng.choice(NAMES), _key(run, rng), rng.random() < 0.05, rng.random() < 0.5
    what = f"import {len(files)} files of {kind} into {name}{', dry' if dry_run else ''}"
    run.say(what)
    options: dict[str, Any] = {"collection": name, "dry_run": dry_run, "label_from_folder": from_folder}
    headers = {"Idempotency-Key": key}
    if file is None:
        answer = run.server.post("/v1/imports", json={"source": source, **options}, headers=headers)
    else:
        options = {**{field: str(value) for field, value in options.items()}, **({"base": base} if base else {})}
        options |= {field: options[field].lower() for field in ("dry_run", "label_from_folder")}
        answer = run.server.post("/v1/imports", data=options, files={"file": file}, headers=headers)
    expect("the status of an import", answer.status, 202, answer=answer)
    collection = run.world.collection(name)
    job = Job(answer.body["job_id"], "import", collection, source=kind)
    for path, data in files.items():
        if path not in OTHERS:
            label, metadata = (described or {}).get(path, (None, {}))
            if label is None and from_folder:
                label = (f"{top}/{path}" if top else path).rpartition("/")[0].rpartition("/")[2] or None
            job.entries.append(_entry(collection, Entry(path, data, None, label, metadata, {"failed"})))
    if not dry_run:
        _settle_ties(run, job, collection)
        run.world.add_job(job)
    else:
        run.settle(run.world.add_job(Job(job.id, "import", collection)))
        listed = run.server.get(f"/v1/jobs/{job.id}").body["source"]
        expect("what a dry run would import", listed["listed"], len(job.entries), about=(job.id,))
        expect("what it skips", listed["skipped"], sum(path in OTHERS for path in files), about=(job.id,))
    return f"{what}: {job.id}"


def _entry(collection: Collection, listed: Entry) -> Entry:
    """What becomes of a listed file."""
    label = None if listed.label is None else normal(listed.label)
    if listed.data is None or listed.data in BAD:
        return replace(listed, data=None, label=label)
    digest = sha256(listed.data)
    known = collection.images.get(digest)
    outcome = "duplicate" if known is not None and known.state in ("pending", "indexed") else "indexed"
    return replace(listed, sha256=digest, label=label, outcomes={outcome})


def _settle_ties(run: Run, job: Job, collection: Collection) -> None:
    """Of entries of the same bytes, in this import or another that is read now, whichever is first is indexed."""
    both = {"indexed", "duplicate"}
    seen: dict[str, Entry] = {}
    for entry in job.entries:
        if entry.sha256 is None:
            continue
        if entry.sha256 in seen and "indexed" in entry.outcomes:
            entry.outcomes |= both
            seen[entry.sha256].outcomes |= both
        seen.setdefault(entry.sha256, entry)
        if run.world.touch(collection, entry.sha256):
            entry.outcomes |= both
        if collection.limited and entry.outcomes != {"duplicate"}:
            entry.outcomes |= {"failed", "duplicate"}


def _key(run: Run, rng: random.Random) -> str:
    return f"import-{run.seed}-{len(run.said)}-{rng.randrange(10**9)}"


def _without_none(row: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in row.items() if value is not None}
