"""The trash: many images removed by a job, restored, purged; many changed."""

import random
from typing import Any
from uuid import uuid4

from tests.model.metadata import draw_label, merged, normal
from tests.model.mismatch import Mismatch, expect
from tests.model.reference import Collection, Image
from tests.model.run import SETTLE_WAITS, Run

MOST = 60  # images at once


def remove_many(run: Run, rng: random.Random) -> str | None:
    """Images of a collection, by their ids or by their label."""
    collection = _quiet(run, rng)
    if collection is None:
        return None
    some = _some(rng, collection)
    if rng.random() < 0.4:
        label = some[0].label
        asked: dict[str, Any] = {"filter": {"label": {"exists": False} if label is None else label}}
        some = [image for image in collection.images.values() if image.label == label]
    else:
        asked = {"ids": [image.id for image in some]}
    run.say(f"remove {len(some)} images from {collection.name}")
    counts = _done(run, "DELETE", "/v1/images", {**asked, "collection": collection.name})
    expect("the images that were removed", counts["indexed"], len(some), about=(collection.name,))
    for image in some:
        run.world.throw_away(image)
    return f"remove {len(some)} images from {collection.name}: {', '.join(image.id for image in some[:5])}"


def change_many(run: Run, rng: random.Random) -> str | None:
    """The label and metadata of images."""
    collection = _quiet(run, rng)
    if collection is None:
        return None
    some, label, key = _some(rng, collection), draw_label(rng), rng.choice(("year", "new"))
    run.say(f"change {len(some)} images of {collection.name}")
    body = {"ids": [image.id for image in some], "label": label, "metadata": {key: None, "bulk": 1}}
    counts = _done(run, "PATCH", "/v1/images", body)
    expect("the images that were changed", counts["indexed"], len(some), about=(collection.name,))
    for image in some:
        image.label = None if label is None else normal(label)
        image.metadata = merged(image.metadata, body["metadata"])
    return f"change {len(some)} images of {collection.name}"


def restore(run: Run, rng: random.Random) -> str | None:
    """Some of what a collection had. What stands in the way is known beforehand."""
    collection = _quiet(run, rng, of_trash=True)
    if collection is None:
        return None
    thrown = [image for image in run.world.trash.values() if image.collection is collection]
    some = sorted(rng.sample(thrown, rng.randint(1, min(MOST, len(thrown)))), key=lambda image: image.id)
    run.say(f"restore {len(some)} images of {collection.name}")
    wanted = dict.fromkeys(("indexed", "duplicate", "failed"), 0)
    back = []
    for image in some:
        if image.sha256 in collection.images:
            wanted["duplicate"] += 1
        elif not collection.has_room(image.size):
            wanted["failed"] += 1
        else:
            wanted["indexed"] += 1
            back.append(image)
            run.world.bring_back(image)
    body = {"ids": [image.id for image in some], "collection": collection.name}
    counts = _done(run, "POST", "/v1/trash:restore", body)
    about = (collection.name, *(image.id for image in some))
    expect(f"restoring {len(some)} images", {name: counts[name] for name in wanted}, wanted, about=about)
    for image in back:
        for near in run.neighbors.values():
            near.pop(image.id, None)
    return (
        f"restore {len(back)} of {len(some)} images of {collection.name}: {', '.join(image.id for image in back[:5])}"
    )


def look_into_trash(run: Run, rng: random.Random) -> str:
    """All that was removed; sometimes some of it goes for ever."""
    seen, params = [], {"limit": 500}
    while True:
        answer = run.server.get("/v1/trash", params=params)
        expect("the trash", answer.status, 200, answer=answer)
        seen += [(each["image_id"], each["label"]) for each in answer.body["items"]]
        if not answer.body["next_cursor"]:
            break
        params["cursor"] = answer.body["next_cursor"]
    wanted = sorted(((image.id, image.label) for image in run.world.trash.values()), reverse=True)
    expect("what the trash has", seen, wanted, answer=None, about=[each for each, _ in {*seen} ^ {*wanted}][:5])
    thrown = list(run.world.trash)
    if thrown and rng.random() < 0.3:
        some = rng.sample(thrown, rng.randint(1, min(MOST, len(thrown))))
        counts = _done(run, "DELETE", "/v1/trash", {"ids": some})
        expect("the images that were purged", counts["indexed"], len(some), about=some[:5])
        for image_id in some:
            del run.world.trash[image_id]
    return f"look into the trash: {len(seen)} images"


def _quiet(run: Run, rng: random.Random, *, of_trash: bool = False) -> Collection | None:
    """A collection that has images, or had, and gets none from a worker meanwhile."""
    images = run.world.trash if of_trash else run.world.images
    collections = {image.collection.name: image.collection for image in images.values()}
    quiet = [each for each in collections.values() if not run.world.imports_into(each)]
    return rng.choice(quiet) if quiet else None


def _some(rng: random.Random, collection: Collection) -> list[Image]:
    images = list(collection.images.values())
    return rng.sample(images, rng.randint(1, min(MOST, len(images))))


def _done(run: Run, method: str, path: str, body: dict[str, Any]) -> dict[str, int]:
    """The counts of the job that a request begins, once it has ended."""
    begun = run.server.send(method, path, json=body, headers={"Idempotency-Key": str(uuid4())})
    expect(f"{method} {path}", begun.status, 202, answer=begun)
    for _ in range(SETTLE_WAITS):
        answer = run.server.get(f"/v1/jobs/{begun.body['job_id']}", params={"wait": 20})
        expect(f"GET job {begun.body['job_id']}", answer.status, 200, answer=answer)
        if answer.body["finished_at"]:
            counts: dict[str, int] = answer.body["counts"]
            return counts
    raise Mismatch(f"{method} {path} does not end: {answer.body}", begun.body["job_id"])
