"""Uploads of single pictures: new, known, bad, repeated under a key, into open imports."""

import json
import random
from dataclasses import dataclass, replace
from typing import Any

from tests.model.metadata import draw_label, draw_metadata, normal
from tests.model.mismatch import expect
from tests.model.pictures import bad_bytes, picture, sha256
from tests.model.reference import Entry, Image, Job, Keyed
from tests.model.run import Run
from tests.model.server import Answer

NAMES = ("garden", "default", "b", "C-1.x_2", "small", "n" * 63, "0", "last")


@dataclass(frozen=True, slots=True)
class Sent:
    """An upload and its answer. asked: all of it, as an Idempotency-Key stands for it."""

    entry: Entry
    data: bytes
    sha256: str
    collection: str
    key: str | None
    asked: tuple[Any, ...]
    answer: Answer


def upload_new(run: Run, rng: random.Random) -> str:
    """A picture that was in no collection, or in another one."""
    number = rng.randrange(run.pictures) if run.pictures and rng.random() < 0.15 else _new_number(run)
    key = f"key-{run.seed}-{number}-{rng.randrange(9)}" if rng.random() < 0.2 else None
    return _upload(run, rng, picture(number), rng.choice(NAMES), key=key)


def upload_known(run: Run, rng: random.Random) -> str | None:
    """Bytes that the collection has already."""
    if not run.world.images:
        return None
    image = rng.choice(list(run.world.images.values()))
    return _upload(run, rng, image.data, image.collection.name)


def upload_again(run: Run, rng: random.Random) -> str | None:
    """A request under a key that was used before, the same one or another."""
    if not run.world.keys:
        return None
    key = rng.choice(list(run.world.keys))
    data, collection, name, label, metadata, job_id = run.world.keys[key].asked
    if rng.random() < 0.3:
        label = "another" if label != "another" else None
    return _send(run, data, collection, name=name, label=label, metadata=json.loads(metadata), key=key, job_id=job_id)


def upload_bad(run: Run, rng: random.Random) -> str:
    """Bytes that are no picture that is taken: refused, and nothing is kept but a failed item of their import."""
    data, status = bad_bytes(rng)
    job = _open_import(run, rng) if rng.random() < 0.3 else None
    collection = job.collection.name if job and job.collection else rng.choice(NAMES)
    run.say(f"upload {len(data)} bad bytes into {collection}, job {job and job.id}")
    answer = _post(run, data, {"collection": collection, **({"job_id": job.id} if job else {})}, f"bad-{len(data)}")
    expect("the status of bad bytes", answer.status, status, answer=answer)
    if job is not None:
        job.loose |= answer.again
        job.entries.append(Entry(f"bad-{len(data)}", None, None, None, {}, {"failed"}))
    return f"upload {len(data)} bad bytes into {collection}, job {job and job.id} → {answer.status}"


def upload_into_import(run: Run, rng: random.Random) -> str | None:
    """A picture of an open import, seldom of a closed one or of another collection's."""
    job = _open_import(run, rng)
    if job is None or job.collection is None:
        return None
    known = list(job.collection.images.values())
    data = rng.choice(known).data if known and rng.random() < 0.2 else picture(_new_number(run))
    name = job.collection.name if rng.random() < 0.95 else rng.choice(NAMES)
    return _upload(run, rng, data, name, job_id=job.id)


def _open_import(run: Run, rng: random.Random) -> Job | None:
    jobs = [job for job in run.world.unfinished() if job.type == "import" and not job.closed]
    return rng.choice(jobs) if jobs else None


def _new_number(run: Run) -> int:
    run.pictures += 1
    return run.seed * 1_000_000 + run.pictures


def _upload(
    run: Run, rng: random.Random, data: bytes, collection: str, *, key: str | None = None, job_id: str | None = None
) -> str:
    name = f"{rng.choice(('a', 'ä/b', '=1+1', '🌷'))}-{rng.randrange(10**6)}.jpg"
    label, metadata = draw_label(rng), draw_metadata(rng)
    return _send(run, data, collection, name=name, label=label, metadata=metadata, key=key, job_id=job_id)


def _send(
    run: Run, data: bytes, collection: str, *, name: str, label: str | None, metadata: dict[str, Any],
    key: str | None, job_id: str | None,
) -> str:  # fmt: skip
    digest = sha256(data)
    what = f"upload {digest[:8]} as {name} into {collection}, job {job_id}, key {key}"
    run.say(what)
    fields = {"collection": collection, "metadata": json.dumps(metadata), "name": name}
    fields |= {} if label is None else {"label": label}
    fields |= {} if job_id is None else {"job_id": job_id}
    asked = (data, collection, name, label, json.dumps(metadata), job_id)
    answer = _post(run, data, fields, "ignored.jpg", {"Idempotency-Key": key} if key else {})
    if not _answered_before(run, key, asked, answer):
        job = run.world.jobs[job_id] if job_id else None
        entry = Entry(normal(name), data, digest, None if label is None else normal(label), metadata, {"indexed"})
        sent = Sent(entry, data, digest, collection, key, asked, answer)
        if job is None:
            _stored(run, sent)
        else:
            _stored_for(run, sent, job)
    return f"{what} → {answer.status} {answer.body.get('image_id', answer.code)}"


def _post(run: Run, data: bytes, fields: dict[str, str], name: str, headers: Any = None) -> Answer:
    return run.server.post("/v1/images", data=fields, files={"file": (name, data)}, headers=headers or {})


def _answered_before(run: Run, key: str | None, asked: tuple[Any, ...], answer: Answer) -> bool:
    """Whether the key was used; then the answer is compared with the first one's."""
    before = run.world.keys.get(key or "")
    if before is None:
        return False
    if before.asked != asked:
        expect("another request under a used key", answer.code, "idempotency_key_reused", answer=answer)
        return True
    expect("a repeated request", answer.status, 200 if before.duplicate else 202, answer=answer)
    expect("its image", answer.body["image_id"], before.image_id, answer=answer)
    expect("its job", answer.body["job_id"], before.job.id, answer=answer)
    return True


def _stored(run: Run, sent: Sent) -> None:
    """An upload with a job of its own, or of bytes that are there."""
    entry, answer, name = sent.entry, sent.answer, sent.collection
    collection = run.world.collection(name)
    raced = run.world.touch(collection, sent.sha256)
    known = collection.images.get(sent.sha256)
    full = not known and collection.limited and not collection.has_room(len(sent.data))
    importing = bool(run.world.imports_into(collection))
    if known is not None and known.state in ("pending", "indexed"):
        expect("the status of known bytes", answer.status, 200, answer=answer, about=(known.id, name))
    elif full and not importing:
        expect("the status beyond the quota", answer.status, 507, answer=answer, about=(name,))
    else:
        allowed = [202, *([200] if raced or answer.again else []), *([507] if importing and collection.limited else [])]
        expect("the status of an upload", answer.status, *allowed, answer=answer, about=(name, sent.sha256[:8]))
    if answer.status == 507:
        return
    image_id, job_id = answer.body["image_id"], answer.body["job_id"]
    expect("what became of it", answer.body["status"], "duplicate" if answer.status == 200 else "queued", answer=answer)
    job = run.world.jobs.get(job_id)
    if job is None:  # unless an import that is under way has it
        if answer.status == 200:  # the job that embedded it is not kept
            entry = replace(entry, outcomes={"duplicate"})
        job = Job(job_id, "upload", collection, [entry], loose=raced)
        run.world.add_job(job)
    _placed(run, sent, known, job)
    if sent.key:
        run.world.keys[sent.key] = Keyed(sent.asked, job, image_id, answer.status == 200)


def _placed(run: Run, sent: Sent, known: Image | None, job: Job) -> None:
    """The image is new, or the known one, which waits for its vector again if it came to nothing before."""
    entry, collection = sent.entry, run.world.collection(sent.collection)
    image_id = sent.answer.body["image_id"]
    if known is not None:
        expect("the image", image_id, known.id, about=(known.id,))
        if known.state in ("failed", "cancelled"):
            known.state, known.job = "pending", job
        elif known.job is not None:
            # An import that is under way may have taken it over from one that was cancelled.
            having = [known.job, *run.world.others_with(known.job, sent.sha256)]
            expect(f"the job that embeds image {known.id}", job.id, *(each.id for each in having), about=(known.id,))
        return
    if any(sent.sha256 == one.sha256 for each in run.world.imports_into(collection) for one in each.entries):
        body = run.server.get(f"/v1/images/{image_id}").body
        if (body["name"], body["label"]) != (entry.name, entry.label):  # an import was first
            run.adopt(image_id)
            return
    described = {"name": entry.name, "label": entry.label, "metadata": entry.metadata}
    run.world.add_image(Image(image_id, collection, sent.sha256, sent.data, **described, job=job))


def _stored_for(run: Run, sent: Sent, job: Job) -> None:
    """An upload that belongs to an import."""
    entry, answer, name = sent.entry, sent.answer, sent.collection
    collection = run.world.collections.get(name)
    if collection is not job.collection or collection is None:
        expect("the status in another's import", answer.status, 404 if collection is None else 422, answer=answer)
        return
    run.world.touch(collection, sent.sha256)
    known = collection.images.get(sent.sha256)
    if not known and collection.limited and not collection.has_room(len(sent.data)):
        expect("the status beyond the quota", answer.status, 507, answer=answer, about=(name,))
        _refused(job, sent)
        return
    duplicate = known is not None and known.state in ("pending", "indexed")
    allowed = [200] if duplicate else [202, *([200] if answer.again or run.world.imports_into(collection) else [])]
    if collection.limited and run.world.imports_into(collection):
        allowed.append(507)
    expect("the status in an import", answer.status, *allowed, answer=answer, about=(job.id, sent.sha256[:8]))
    job.loose |= answer.again or (answer.status == 200 and not duplicate)
    if answer.status == 507:
        _refused(job, sent)
        return
    entry.outcomes = {"duplicate"} if answer.status == 200 and duplicate else {"indexed"}
    job.entries.append(entry)
    expect("the job", answer.body["job_id"], job.id, answer=answer)
    if known is not None and duplicate:
        expect("the image", answer.body["image_id"], known.id, answer=answer)
    else:
        _placed(run, sent, known, job)
    if sent.key:
        run.world.keys[sent.key] = Keyed(sent.asked, job, answer.body["image_id"], answer.status == 200)


def _refused(job: Job, sent: Sent) -> None:
    """What is refused for an import is a failed item of it."""
    job.loose |= sent.answer.again
    job.entries.append(Entry(sent.entry.name, None, None, None, {}, {"failed"}))
