"""Images and collections: looked at, listed, changed, removed."""

import json
import random
from typing import Any
from uuid import uuid4

from tests.model.metadata import LABELS, draw_filter, draw_label, draw_metadata, merged, normal, passes, same
from tests.model.mismatch import Mismatch, expect
from tests.model.operations.uploads import NAMES
from tests.model.pictures import sha256, size_of
from tests.model.reference import Collection, Image, Job
from tests.model.run import Run


def picked(run: Run, rng: random.Random) -> Image | None:
    images = list(run.world.images.values())
    return rng.choice(images) if images else None


def check_image(run: Run, image: Image, body: dict[str, Any]) -> None:
    """Raise Mismatch unless the answer describes this image."""
    about, what = (image.id,), f"of image {image.id}"
    width, height = size_of(image.data)
    for field, wanted in {
        "collection": image.collection.name, "name": image.name, "label": image.label, "size": image.size,
        "sha256": image.sha256, "width": width, "height": height, "note": None,
    }.items():  # fmt: skip
        expect(f"{field} {what}", body[field], wanted, about=about)
    if not same(body["metadata"], image.metadata):
        raise Mismatch(f"metadata {what} is {body['metadata']!r}, where the model has {image.metadata!r}", *about)
    run.see_status(image, body["status"])


def look_at_image(run: Run, rng: random.Random) -> str | None:
    """One image, or one that is gone."""
    if run.world.gone and rng.random() < 0.2:
        image_id = rng.choice([run.world.gone[-1], rng.choice(run.world.gone), str(uuid4())])
        answer = run.server.get(f"/v1/images/{image_id}{rng.choice(('', '/file', '/similar'))}")
        expect(f"GET of image {image_id}, which is gone", answer.status, 404, answer=answer, about=(image_id,))
        return f"look at {image_id}, which is gone"
    image = picked(run, rng)
    if image is None:
        return None
    answer = run.server.get(f"/v1/images/{image.id}")
    expect(f"GET image {image.id}", answer.status, 200, answer=answer, about=(image.id,))
    check_image(run, image, answer.body)
    return f"look at {image.id}: {image.state}"


def fetch_file(run: Run, rng: random.Random) -> str | None:
    """An image's picture, or its thumbnail; nothing of it for a browser that has it already."""
    image = picked(run, rng)
    if image is None:
        return None
    path = f"/v1/images/{image.id}/{rng.choice(('file', 'thumbnail'))}"
    answer = run.server.get(path)
    expect(f"GET {path}", answer.status, 200, answer=answer, about=(image.id,))
    expect(f"the size of {path}", size_of(answer.body), size_of(image.data), about=(image.id,))
    unchanged = run.server.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    expect(f"GET {path} with its ETag", unchanged.status, 304, about=(image.id,))
    return f"fetch {path}"


def relabel(run: Run, rng: random.Random) -> str | None:
    """Another label, other metadata, or both; sometimes only if it is as it was seen last."""
    image = picked(run, rng)
    if image is None:
        return None
    changes: dict[str, Any] = {}
    if rng.random() < 0.6:
        changes["label"] = draw_label(rng)
    if rng.random() < 0.6 or not changes:
        changes["metadata"] = rng.choice((draw_metadata(rng), dict.fromkeys(image.metadata), None))
    headers, allowed = {}, [200]
    if rng.random() < 0.2:
        headers["If-Match"] = run.server.get(f"/v1/images/{image.id}").headers["ETag"]
        allowed = [200, 412] if image.state == "pending" else [200]
    elif rng.random() < 0.1:
        headers["If-Match"], allowed = '"of another state"', [412]
    run.say(f"change {image.id}: {changes!r:.100}")
    answer = run.server.send("PATCH", f"/v1/images/{image.id}", json=changes, headers=headers)
    allowed += [412] if answer.again and headers else []
    expect(f"PATCH of image {image.id}", answer.status, *allowed, answer=answer, about=(image.id,))
    if answer.status == 412 and not answer.again:
        return f"change {image.id} in another state → 412"
    if "label" in changes:
        image.label = None if changes["label"] is None else normal(changes["label"])
    if "metadata" in changes:
        image.metadata = {} if changes["metadata"] is None else merged(image.metadata, changes["metadata"])
    check_image(run, image, answer.body if answer.status == 200 else run.server.get(f"/v1/images/{image.id}").body)
    return f"change {image.id}: {', '.join(changes)}"


def remove_image(run: Run, rng: random.Random) -> str | None:
    """An image, embedded or not."""
    image = picked(run, rng)
    if image is None:
        return None
    run.say(f"remove {image.id} from {image.collection.name}")
    answer = run.server.send("DELETE", f"/v1/images/{image.id}")
    allowed = [204, *([404] if answer.again else [])]
    expect(f"DELETE of image {image.id}", answer.status, *allowed, answer=answer, about=(image.id,))
    run.world.touch(image.collection, image.sha256)
    run.world.throw_away(image)
    return f"remove {image.id}, {image.sha256[:8]}, from {image.collection.name}"


def check_hashes(run: Run, rng: random.Random) -> str | None:
    """Which of some hashes a collection has."""
    name = rng.choice(NAMES)
    collection = run.world.collections.get(name, Collection(name))
    reserved = {entry.sha256 for job in run.world.imports_into(collection) for entry in job.entries}
    images = [image for image in list(run.world.images.values()) if image.sha256 not in reserved]
    asked = {image.sha256 for image in rng.sample(images, min(len(images), 20))} | {sha256(rng.randbytes(4))}
    answer = run.server.post("/v1/images:check", json={"sha256": sorted(asked), "collection": name})
    there = {digest: collection.images[digest] for digest in asked & collection.images.keys()}
    known = {digest: image.id for digest, image in there.items() if image.state in ("pending", "indexed")}
    expect(f"which of {len(asked)} hashes {name} has", answer.body["known"], known, about=(name,))
    return f"check {len(asked)} hashes in {name}: {len(known)}"


def list_images(run: Run, rng: random.Random) -> str:
    """Images by pages: of all collections or one, with a label or all."""
    name = rng.choice((*NAMES, None)) if rng.random() < 0.9 else "missing"
    label = rng.choice(LABELS) if rng.random() < 0.4 else None
    known = [image.metadata for image in list(run.world.images.values())[-50:] if image.metadata]
    wanted = draw_filter(rng, known) if rng.random() < 0.5 else {}
    return listed(run, name, label, rng.choice((7, 50, 120, 500)), most=rng.choice((1, 3, 40)), filter=wanted)


def listed(
    run: Run, name: str | None, label: str | None, limit: int, *, most: int, filter: dict[str, Any] | None = None
) -> str:
    """Compare up to `most` pages of a list with what it must be."""
    what = f"list {name}, label {label!r:.20}, by {limit}" + (f", {filter!r:.200}" if filter else "")
    run.say(what)
    asked = {"collection": name, "label": label, "limit": limit, "filter": json.dumps(filter) if filter else None}
    params = {field: value for field, value in asked.items() if value is not None}
    seen: list[str] = []
    for _ in range(most):
        answer = run.server.get("/v1/images", params=params)
        if name is not None and name not in run.world.collections:
            expect(f"the list of {name}, which is not there", answer.status, 404, answer=answer, about=(name,))
            return what
        expect(what, answer.status, 200, answer=answer)
        expect(f"the length of a page of {what}", len(answer.body["items"]) <= limit, True)
        for body in answer.body["items"]:
            image = run.adopt(body["image_id"], body)
            assert image is not None
            check_image(run, image, body)
            seen.append(image.id)
        params["cursor"] = answer.body["next_cursor"]
        if not params["cursor"]:
            break
    wanted = [
        image.id for image in run.world.images.values()
        if name in (None, image.collection.name)
        and (label is None or image.label == normal(label))
        and passes(filter or {}, image.label, image.metadata)
    ]  # fmt: skip
    wanted.sort(reverse=True)
    if seen != (wanted if not params.get("cursor") else wanted[: len(seen)]):
        odd = sorted({*seen} ^ {*wanted[: len(seen) + 1]})[:5]
        raise Mismatch(f"{what}: {len(seen)} images, where the model has {len(wanted)}; they differ in {odd}", *odd)
    return f"{what}: {len(seen)} of {len(wanted)}"


def create_collection(run: Run, rng: random.Random) -> str:
    """A collection that is there, or not yet."""
    name = rng.choice(NAMES)
    run.say(f"create {name}")
    answer = run.server.post("/v1/collections", json={"name": name})
    there = name in run.world.collections
    allowed = [200] if there else [201, *([200] if answer.again else [])]
    expect(f"creating {name}", answer.status, *allowed, answer=answer, about=(name,))
    check_collection(run, run.world.collection(name), answer.body)
    return f"create {name} → {answer.status}"


def check_collection(run: Run, collection: Collection, body: dict[str, Any]) -> None:
    """Raise Mismatch unless the answer describes this collection."""
    coming = sum(len(job.entries) for job in run.world.imports_into(collection))
    least = len(collection.images)
    about = (collection.name,)
    expect("the collection's name", body["name"], collection.name, about=about)
    expect(f"the images of {collection.name}", body["images"], *range(least, least + coming + 1), about=about)
    for quota in ("max_images", "max_bytes"):
        expect(f"{quota} of {collection.name}", body[quota], getattr(collection, quota), about=about)


def list_collections(run: Run, rng: random.Random) -> str:
    """All collections, by pages."""
    params: dict[str, Any] = {"limit": rng.choice((1, 3, 100))}
    names: list[str] = []
    while True:
        answer = run.server.get("/v1/collections", params=params)
        expect("the list of collections", answer.status, 200, answer=answer)
        for body in answer.body["items"]:
            collection = run.world.collections.get(body["name"])
            if collection is None:
                raise Mismatch(f"there is a collection {body['name']}, which the model has not", body["name"])
            check_collection(run, collection, body)
            names.append(body["name"])
        if not answer.body["next_cursor"]:
            break
        params["cursor"] = answer.body["next_cursor"]
    expect("the collections", sorted(names), sorted(run.world.collections))
    return f"list {len(names)} collections"


def set_quota(run: Run, rng: random.Random) -> str:
    """A quota, or none any more; most often of one collection."""
    name = "small" if rng.random() < 0.6 else rng.choice(NAMES)
    collection = run.world.collections.get(name)
    there = len(collection.images) if collection else 0
    changes = {"max_images": rng.choice((None, 0, there, there + 3, 10**6))}
    if rng.random() < 0.3:
        changes["max_bytes"] = rng.choice((None, 10**9, 2**62))
    run.say(f"limit {name} to {changes}")
    answer = run.server.send("PATCH", f"/v1/collections/{name}", json=changes)
    if collection is None:
        expect(f"limiting {name}, which is not there", answer.status, 404, answer=answer, about=(name,))
    else:
        expect(f"limiting {name}", answer.status, 200, answer=answer, about=(name,))
        for job in run.world.imports_into(collection):
            job.loose = True
        for quota, value in changes.items():
            setattr(collection, quota, value)
        check_collection(run, collection, answer.body)
    return f"limit {name} to {changes} → {answer.status}"


def delete_collection(run: Run, rng: random.Random) -> str:
    """A collection with all that it has. Once more meanwhile: the same job."""
    names = [name for name in run.world.collections if len(run.world.collections[name].images) < 300] or [*NAMES]
    name = rng.choice(names) if rng.random() < 0.8 else rng.choice(NAMES)
    collection, before = run.world.collections.get(name), run.world.deletions.get(name)
    run.say(f"delete {name}")
    answer = run.server.send("DELETE", f"/v1/collections/{name}")
    if collection is None:
        expect(f"deleting {name}, which is not there", answer.status, 404, *([202] if before else []), answer=answer)
        if answer.status == 202 and before is not None:
            expect("the job of the same deletion", answer.body["job_id"], before.id, answer=answer, about=(name,))
        return f"delete {name} → {answer.status}"
    expect(f"deleting {name}", answer.status, 202, *([404] if answer.again else []), answer=answer, about=(name,))
    run.world.drop_collection(collection)
    if answer.status == 202:
        job = run.world.add_job(Job(answer.body["job_id"], "deletion", None))
        run.world.deletions[name] = job
    return f"delete {name} → {answer.status} {answer.body.get('job_id')}"
