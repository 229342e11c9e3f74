"""Near-duplicates, compared with groups that are computed from the vectors; measured recall."""

import random
from typing import Any

import numpy as np

from tests.model.mismatch import Mismatch, expect
from tests.model.nearest import SINGLE
from tests.model.operations.models import end_reindex
from tests.model.reference import Collection, Job
from tests.model.run import Run

NEIGHBORS = 16  # that are kept of each image
MOST_COMPARED = 400  # images of a collection, so that a comparison takes a second


def find_duplicates(run: Run, rng: random.Random) -> str | None:
    """Compare a collection with itself, then list its groups."""
    small = [each for each in run.world.collections.values() if 2 <= len(each.images) <= MOST_COMPARED]
    if not small:
        return None
    collection, again = rng.choice(small), rng.random() < 0.3
    run.say(f"compare {collection.name}")
    if run.world.switching:
        end_reindex(run)
    run.settle(*[job for job in run.world.unfinished() if job.collection is collection and job.closed])
    run.learn()
    answer = run.server.post("/v1/duplicates", json={"collection": collection.name, "again": again})
    if any(image.state == "pending" for image in collection.images.values()):  # of a paused or open import
        expect("a comparison", answer.status, 200, 202, 409, answer=answer)
    elif answer.again and answer.status == 409:
        answer = run.server.get("/v1/jobs", params={"type": "comparison", "limit": 1})
        answer.body["job_id"] = answer.body["items"][0]["id"]
    else:
        expect("a comparison", answer.status, 200, 202, answer=answer, about=(collection.name,))
    if answer.body.get("job_id"):
        run.settle(run.world.add_job(Job(answer.body["job_id"], "comparison", collection)))
        _remember(run, collection, again)
    return f"compare {collection.name}: {answer.status}, {_check_groups(run, rng, collection)}"


def _remember(run: Run, collection: Collection, again: bool) -> None:
    """The nearest of each image that was compared now, as they are kept until it is compared again."""
    assert run.world.active is not None
    vectors = run.vectors.of(run.world.active.id, list(collection.images.values()))
    near = run.neighbors.setdefault(run.world.active.id, {})
    ids = list(vectors)
    if not ids:
        return
    stacked = np.stack(list(vectors.values())).astype(np.float64)
    stacked /= np.linalg.norm(stacked, axis=1, keepdims=True)
    away = 1 - stacked @ stacked.T
    np.fill_diagonal(away, np.inf)
    for row, image_id in enumerate(ids):
        if again or image_id not in near:
            nearest = np.argsort(away[row])[:NEIGHBORS]
            near[image_id] = {ids[each]: float(away[row, each]) for each in nearest if np.isfinite(away[row, each])}


def _check_groups(run: Run, rng: random.Random, collection: Collection) -> str:
    """The groups by distance alone, from all pages."""
    assert run.world.active is not None
    near = run.neighbors.get(run.world.active.id, {})
    most = rng.choice((0.01, 0.05, 0.2))
    params: dict[str, Any] = {
        "collection": collection.name, "max_distance": most, "min_pixel_similarity": 0, "limit": rng.choice((3, 100)),
    }  # fmt: skip
    groups: list[frozenset[str]] = []
    while True:
        answer = run.server.get("/v1/duplicates", params=params)
        expect("the duplicates", answer.status, 200, answer=answer, about=(collection.name,))
        groups += [frozenset(image["image_id"] for image in group["images"]) for group in answer.body["items"]]
        if not answer.body["next_cursor"]:
            break
        params["cursor"] = answer.body["next_cursor"]
    there = [image.id for image in collection.images.values()]
    if any(image.state == "pending" for image in collection.images.values()):
        return "not comparable"
    compared = sum(each in near for each in there)
    expect("how many were compared", answer.body["compared"], compared, about=(collection.name,))
    links = [
        (one, other, far)
        for one in there
        for other, far in near.get(one, {}).items()
        if other in collection_ids(collection)
    ]
    if any(abs(far - most) < SINGLE for _, _, far in links) or any(len(group) > 99 for group in groups):
        return "too close to tell"
    wanted = _components([(one, other) for one, other, far in links if far <= most])
    if set(groups) != set(wanted) or len(groups) != len(wanted):
        odd = [sorted(group) for group in {*groups} ^ {*wanted}]
        raise Mismatch(
            f"{collection.name} has {len(groups)} groups within {most}, not {len(wanted)}: {odd[:4]}", *odd[0]
        )
    return f"{len(groups)} groups within {most}"


def collection_ids(collection: Collection) -> set[str]:
    return {image.id for image in collection.images.values()}


def _components(links: list[tuple[str, str]]) -> list[frozenset[str]]:
    """Groups of what links hold together."""
    groups: dict[str, set[str]] = {}
    for one, other in links:
        joined = groups.get(one, {one}) | groups.get(other, {other})
        for each in joined:
            groups[each] = joined
    return list({id(group): frozenset(group) for group in groups.values()}.values())


def measure_recall(run: Run, rng: random.Random) -> str:
    """What the index finds of what an exact search finds."""
    run.say("measure recall")
    answer = run.server.post("/v1/admin/recall", json={"k": rng.choice((1, 10, 50)), "sample": 5})
    expect("measuring recall", answer.status, 200, 409, answer=answer)
    if answer.status == 200 and not 0.5 <= answer.body["recall"] <= 1:
        raise Mismatch(f"a recall of {answer.body['recall']}: {answer.body}")
    return f"measure recall → {answer.status}"
