"""A gallery that has lived: thousands of images, odd labels and metadata, failed items, cancelled jobs, deleted images,
near-duplicates found, a map, measured recall, models switched back and forth, and a reindex under way."""

import json
import random
from collections.abc import Callable

from tests.faults.target import Target
from tests.model.life import begin
from tests.model.metadata import draw_label, draw_metadata
from tests.model.mismatch import expect
from tests.model.operations import models, restarts
from tests.model.operations.weights import WEIGHTS
from tests.model.pictures import picture
from tests.model.reference import Job
from tests.model.run import Operation, Run

LARGE = ("forest", "meadow")  # collections that most of the images are in
FIRST_PICTURE = 500_000_000  # apart from those of the operations


def age(
    target: Target, *, images: int = 2_000, operations: int = 250, tell: Callable[[str], None] = lambda line: None
) -> Run:
    """Start the stack and let it live. Returns the run that it has lived. Raises Mismatch."""
    run = begin(target, seed=2, tell=tell)
    run.go(operations, _drawn)
    models.end_reindex(run)
    run.settle()
    for job_id in [_begin_import(run, name, images // len(LARGE), part) for part, name in enumerate(LARGE)]:
        _await(run, job_id)
    for path in ("/v1/duplicates", "/v1/map"):
        answer = run.server.post(path, json={})
        expect(f"POST {path}", answer.status, 202, answer=answer)
        _await(run, answer.body["job_id"])
    expect("measuring recall", run.server.post("/v1/admin/recall", json={"sample": 20}).status, 200)
    _leave_reindex(run)
    tell(f"{images:,} images and {operations:,} operations")
    return run


def leave_in_peace(run: Run) -> None:
    """Resume the reindex, and wait for its end, unless it was cancelled."""
    if run.world.reindex is not None:
        run.server.post(f"/v1/jobs/{run.world.reindex.id}/resume")
        _await(run, run.world.reindex.id)


def _drawn(rng: random.Random, number: int) -> Operation:
    weights = {one: weight for one, weight in WEIGHTS.items() if one not in (restarts.restart, models.retire)}
    return rng.choices(list(weights), list(weights.values()))[0]


def _begin_import(run: Run, name: str, images: int, part: int) -> str:
    """An import of a list, with a label and metadata of each image, and some files that are missing."""
    folder, rng = run.target.home / "sources" / name, random.Random(part)
    folder.mkdir()
    rows = []
    for number in range(images):
        if rng.random() < 0.98:
            (folder / f"{number}.jpg").write_bytes(picture(FIRST_PICTURE * (part + 1) + number))
        rows.append({"path": f"{number}.jpg", "metadata": draw_metadata(rng)})
        rows[-1] |= {"label": label} if (label := draw_label(rng)) else {}
    data = {"collection": name, "base": str(folder)}
    answer = run.server.post("/v1/imports", data=data, files={"file": ("list.jsonl", "\n".join(map(json.dumps, rows)))})
    expect("a large import", answer.status, 202, answer=answer)
    return str(answer.body["job_id"])


def _await(run: Run, job_id: str) -> None:
    while not run.server.get(f"/v1/jobs/{job_id}", params={"wait": 20}).body["finished_at"]:
        pass


def _leave_reindex(run: Run) -> None:
    """Begin a reindex with a version that falls behind, and pause it as soon as it has begun."""
    version = next(each for each in run.world.versions.values() if each.state not in ("active", "retired"))
    answer = run.server.post("/v1/admin/reindex", json={"model_version": version.id})
    expect("a reindex", answer.status, 202, answer=answer)
    job_id = answer.body["job_id"]
    run.server.post(f"/v1/jobs/{job_id}/pause")
    run.world.reindex = run.world.add_job(Job(job_id, "reindex", None, closed=False, paused=True))
