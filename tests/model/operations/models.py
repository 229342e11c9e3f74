"""Model versions: registered, reindexed, switched, rolled back, retired, and reindexes that are cancelled."""

import random
from pathlib import Path
from typing import Any

from tests.model.mismatch import Mismatch, expect
from tests.model.reference import Job, Version
from tests.model.run import Run
from tests.model.server import Answer

BESIDE = ("backfilling", "ready")


def register(run: Run, path: Path, *, calibrated: bool) -> Version:
    """Make a checkpoint known; another time, it is the same version."""
    files = {"weights": path.read_bytes(), "card": path.with_suffix(".json").read_bytes()}
    answer = run.server.post("/v1/models", files={name: (name, data) for name, data in files.items()})
    expect("registering a model", answer.status, 201, answer=answer)
    body = answer.body
    version = Version(body["id"], body["name"], body["dim"], calibrated, body["state"])
    return run.world.versions.setdefault(version.id, version)


def look_at_models(run: Run, rng: random.Random) -> str:
    """All versions, and whether their states are those that they must have."""
    if run.world.switching:
        end_reindex(run)
    answer = run.server.get("/v1/models")
    expect("the list of models", answer.status, 200, answer=answer)
    world = run.world
    assert world.active is not None
    states = {body["id"]: body["state"] for body in answer.body["items"]}
    expect("the versions", sorted(states), sorted(world.versions))
    expect("the active version", [each for each, state in states.items() if state == "active"], [world.active.id])
    if sum(state in BESIDE for state in states.values()) > 1:
        raise Mismatch(f"more than one version is maintained beside the active one: {states}")
    for version in world.versions.values():
        if world.reindex is None or version not in (world.reindexed, *_beside(run)):
            expect(f"the state of version {version.name}", states[version.id], version.state)
        version.state = states[version.id]
    return f"look at {len(states)} models: {[version.state for version in world.versions.values()]}"


def _beside(run: Run) -> list[Version]:
    """Those that a reindex may let fall behind."""
    return [version for version in run.world.versions.values() if version.state in BESIDE]


def begin_reindex(run: Run, rng: random.Random) -> str:
    """Embed all with another version; or build the index of the active one anew."""
    world = run.world
    if world.switching:
        end_reindex(run)
    version, index = rng.choice(list(world.versions.values())), rng.random() < 0.2
    body: dict[str, Any] = {"mode": "index"} if index else {"model_version": version.id, "activate": rng.random() < 0.4}
    if not index and body["activate"]:
        body["max_drop"] = 1
    run.say(f"reindex {body}")
    answer = run.server.post("/v1/admin/reindex", json=body)
    running = world.reindex
    refused = not index and version.state in ("active", "retired")
    if refused:
        expect(f"reindexing with a version that is {version.state}", answer.status, 409, answer=answer)
        return f"reindex {body} → 409"
    if running is not None and answer.status == 409:
        return f"reindex {body} → 409, one runs"
    if answer.again and answer.status == 409:  # the first answer was lost
        answer = _newest_reindex(run)
    else:
        expect("the status of a reindex", answer.status, 202, answer=answer)
    if running is not None:
        end_reindex(run)
    job = world.add_job(Job(answer.body["job_id"], "reindex", None, closed=False))
    world.reindex, world.reindexed = job, None if index else version
    world.switching = bool(body.get("activate"))
    return f"reindex {body}: {job.id}"


def _newest_reindex(run: Run) -> Answer:
    answer = run.server.get("/v1/jobs", params={"type": "reindex", "limit": 1})
    answer.body["job_id"] = answer.body["items"][0]["id"]
    return answer


def end_reindex(run: Run) -> None:
    """Wait for the reindex that is under way, and learn what it came to."""
    world, job = run.world, run.world.reindex
    if job is None:
        return
    if job.paused:
        run.resume(job)
    job.closed = True
    run.settle(job)
    body = run.server.get(f"/v1/jobs/{job.id}").body
    version, report = world.reindexed, body["reindex"]["report"]
    world.reindex = world.reindexed = None
    world.switching = False
    if version is not None and "switched" in (
        report or {}
    ):  # it came to its end, even if an image was removed meanwhile
        if report["switched"]:
            _switched(run, version)
        else:
            for other in _beside(run):
                other.state = "registered"
            version.state = "ready"
    elif version is not None and not job.cancelled:
        raise Mismatch(f"a reindex with a good model failed: {body}", job.id)
    _learn_states(run)


def _learn_states(run: Run) -> None:
    """Which of the others are maintained: a cancelled reindex may or may not have come that far."""
    for body in run.server.get("/v1/models").body["items"]:
        version = run.world.versions[body["id"]]
        if version.state in ("active", "retired") or body["state"] == "active":
            expect(f"the state of version {version.name}", body["state"], version.state)
        version.state = body["state"]


def await_reindex(run: Run, rng: random.Random) -> str | None:
    """Wait for the end of a reindex."""
    if run.world.reindex is None:
        return None
    job = run.world.reindex
    run.say(f"await reindex {job.id}")
    end_reindex(run)
    return f"await reindex {job.id}"


def stop_reindex(run: Run, rng: random.Random) -> str | None:
    """Cancel a reindex, pause or resume it."""
    job = run.world.reindex
    if job is None:
        return None
    verb = rng.choice(("cancel", "pause", "resume"))
    run.say(f"{verb} reindex {job.id}")
    answer = run.server.post(f"/v1/jobs/{job.id}/{verb}")
    expect(f"{verb} of a reindex", answer.status, 200, 409, answer=answer, about=(job.id,))
    if answer.status == 200:
        job.paused = verb == "pause"
        job.cancelled |= verb == "cancel"
    if verb == "cancel":
        end_reindex(run)
    return f"{verb} reindex {job.id} → {answer.status}"


def activate(run: Run, rng: random.Random) -> str:
    """Switch to another version, which must have all that the active one has."""
    world = run.world
    assert world.active is not None
    version = rng.choice(list(world.versions.values()))
    run.say(f"activate {version.name}")
    if world.switching or (world.reindex is not None and rng.random() < 0.7):
        end_reindex(run)
    was_ready, quiet = version.state == "ready" and world.reindex is None, _is_quiet(run)
    lacking = run.vectors.count_lacking(version.id, world.active.id)
    answer = run.server.post(f"/v1/models/{version.id}/activate")
    if version.state == "retired":
        allowed = [409]
    elif version is world.active or was_ready:
        allowed = [200]
    elif quiet:
        allowed = [409] if lacking else [200]
    else:
        allowed = [200, 409]
    if world.reindex is not None and version is not world.active:
        allowed = [200, 409]
    expect(
        f"activating {version.name}, which is {version.state} and lacks {lacking}",
        answer.status,
        *allowed,
        answer=answer,
    )
    if answer.status == 200 and version is not world.active:
        _switched(run, version)
    return f"activate {version.name} → {answer.status}"


def roll_back(run: Run, rng: random.Random) -> str:
    """Return to the version that the active one replaced; of another one there is no way back."""
    world = run.world
    end_reindex(run)
    version = world.active if rng.random() < 0.8 else rng.choice(list(world.versions.values()))
    assert version is not None
    former = version.replaced if version is world.active else None
    run.say(f"roll back from {version.name}")
    answer = run.server.post(f"/v1/models/{version.id}/rollback")
    possible = former is not None and former.state == "ready"
    allowed = [200] if possible else [409]
    if answer.again and possible:
        allowed = [200, 409]
    expect(f"rolling back from {version.name}", answer.status, *allowed, answer=answer)
    if possible:
        assert former is not None
        assert world.active is not None
        world.active.state, former.state, world.active = "ready", "active", former
    return f"roll back from {version.name} → {answer.status}"


def retire(run: Run, rng: random.Random) -> str:
    """Give up a version's vectors; the next registration brings it back, once they are gone."""
    world = run.world
    end_reindex(run)
    version = rng.choice(list(world.versions.values()))
    run.say(f"retire {version.name}")
    answer = run.server.post(f"/v1/models/{version.id}/retire")
    expect(f"retiring {version.name}", answer.status, 409 if version.state == "active" else 200, answer=answer)
    if answer.status == 200:
        version.state = "retired"
        run.vectors.forget(version.id)
    return f"retire {version.name} → {answer.status}"


def register_again(run: Run, rng: random.Random) -> str | None:
    """A checkpoint that is known; a retired one comes back without vectors."""
    version = rng.choice(list(run.world.versions.values()))
    path = run.checkpoints[version.name]
    files = {"weights": path.read_bytes(), "card": path.with_suffix(".json").read_bytes()}
    answer = run.server.post("/v1/models", files={name: (name, data) for name, data in files.items()})
    allowed = [201, 409] if version.state == "retired" else [201]
    expect(f"registering {version.name} again", answer.status, *allowed, answer=answer)
    if answer.status == 201:
        expect("the version", answer.body["id"], version.id, answer=answer)
        version.state = "registered" if version.state == "retired" else version.state
    return f"register {version.name} again → {answer.status}"


def _is_quiet(run: Run) -> bool:
    """Whether no picture is on its way to its vector."""
    return not run.world.unfinished() and not any(True for _ in run.world.pending())


def _switched(run: Run, version: Version) -> None:
    """`version` is active now, the former one maintained beside it, and others fall behind."""
    world = run.world
    assert world.active is not None
    for other in _beside(run):
        other.state = "registered"
    former, world.active = world.active, version
    former.state, version.state, version.replaced = "ready", "active", former
