"""Jobs: looked at, listed, closed, cancelled, paused, resumed, tried again."""

import csv
import io
import random
from collections import Counter
from typing import Any
from uuid import uuid4

from tests.model.mismatch import Mismatch, expect
from tests.model.reference import STATES, Job
from tests.model.run import Run


def _picked(run: Run, rng: random.Random, *, unfinished: float) -> Job | None:
    """A job; one that has not ended, as often as that."""
    jobs = [job for job in run.world.unfinished() if job.type != "reindex"] if rng.random() < unfinished else []
    jobs = jobs or list(run.world.jobs.values())
    return rng.choice(jobs) if jobs else None


def look_at_job(run: Run, rng: random.Random) -> str | None:
    """A job, with its items or not."""
    job = _picked(run, rng, unfinished=0.5)
    if job is None or rng.random() < 0.03:
        job_id = str(uuid4())
        answer = run.server.get(f"/v1/jobs/{job_id}{rng.choice(('', '/items', '/items.csv'))}")
        expect("a job that never was", answer.status, 404, answer=answer)
        return "look at a job that never was"
    answer = run.server.get(f"/v1/jobs/{job.id}", params={"wait": rng.choice((0, 0, 0.2))})
    if job.gone:
        expect(f"job {job.id}, whose collection is deleted", answer.status, 200, 404, answer=answer)
        return f"look at job {job.id}, which is going"
    expect(f"job {job.id}", answer.status, 200, answer=answer, about=(job.id,))
    _check_counts(job, answer.body)
    if job.done and job.type in ("upload", "import"):
        _check_items(run, job, rng)
    return f"look at {job.type} {job.id}: {answer.body['status']}"


def _check_counts(job: Job, body: dict[str, Any]) -> None:
    counts = body["counts"]
    expect(f"the total of job {job.id}", counts["total"], sum(counts[state] for state in STATES), about=(job.id,))
    expect(f"the type of job {job.id}", body["type"], job.type, about=(job.id,))
    if body["finished_at"]:
        expect(f"whether job {job.id}, which has ended, is paused", body["paused"], False, about=(job.id,))
    elif not job.done and job.type != "reindex":
        expect(f"whether job {job.id} is paused", body["paused"], job.paused, about=(job.id,))
    # Those about several collections lose the items of the ones that are deleted.
    if job.counts is not None and job.type in ("upload", "import", "comparison"):
        expect(f"the counts of job {job.id}, which has ended", counts, job.counts, about=(job.id,))


def _check_items(run: Run, job: Job, rng: random.Random) -> None:
    assert job.counts is not None
    state = rng.choice(STATES)
    if rng.random() < 0.5:
        answer = run.server.get(f"/v1/jobs/{job.id}/items", params={"status": state, "limit": 1000})
        expect(f"the {state} items of {job.id}", len(answer.body["items"]), job.counts[state], about=(job.id,))
        return
    answer = run.server.get(f"/v1/jobs/{job.id}/items.csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    found = Counter(row["status"] for row in rows)
    expect(f"items.csv of {job.id}", {s: found[s] for s in STATES}, {s: job.counts[s] for s in STATES}, about=(job.id,))


def list_jobs(run: Run, rng: random.Random) -> str:
    """Jobs by pages, newest first."""
    kind = rng.choice(("upload", "import", "deletion", "reindex", "comparison"))
    limit, most = rng.choice((10, 100, 500)), rng.choice((1, 3))
    params: dict[str, Any] = {"type": kind, "limit": limit}
    seen: list[str] = []
    for _ in range(most):
        answer = run.server.get("/v1/jobs", params=params)
        expect("the list of jobs", answer.status, 200, answer=answer)
        for body in answer.body["items"]:
            job = run.world.jobs.get(body["id"])
            if job is None:
                raise Mismatch(f"there is a job that the model has not: {body}", body["id"])
            if not job.gone:
                _check_counts(job, body)
                seen.append(job.id)
        params["cursor"] = answer.body["next_cursor"]
        if not params["cursor"]:
            break
    there = sorted((job.id for job in run.world.jobs.values() if job.type == kind and not job.gone), reverse=True)
    expect(f"the jobs of the type {kind}", seen, there[: len(seen)] if params["cursor"] else there)
    return f"list {len(seen)} jobs of the type {kind}"


def close_job(run: Run, rng: random.Random) -> str | None:
    """An open import, mostly; one that is closed already, or another job, which closes itself."""
    opened = [job for job in run.world.unfinished() if not job.closed]
    job = rng.choice(opened) if opened and rng.random() < 0.9 else _picked(run, rng, unfinished=0.5)
    if job is None or job.type == "reindex":
        return None
    run.say(f"close {job.type} {job.id}")
    answer = run.server.post(f"/v1/jobs/{job.id}/close")
    if job.gone:
        expect(f"closing job {job.id}, which is going", answer.status, 200, 404, 409, answer=answer)
    elif job.type not in ("upload", "import"):
        expect(f"closing {job.type} {job.id}", answer.code, "action_refused", answer=answer, about=(job.id,))
    else:
        listed = [409] if job.source and not job.done else []
        expect(f"closing {job.type} {job.id}", answer.status, 200, *listed, answer=answer, about=(job.id,))
        job.closed = True
    return f"close {job.type} {job.id} → {answer.status}"


def cancel_job(run: Run, rng: random.Random) -> str | None:
    """A job that is under way, or one that has ended."""
    job = _picked(run, rng, unfinished=0.9)
    if job is None or job.type == "reindex":
        return None
    run.say(f"cancel {job.type} {job.id}")
    answer = run.server.post(f"/v1/jobs/{job.id}/cancel")
    if job.gone:
        expect(f"cancelling job {job.id}, which is going", answer.status, 200, 404, 409, answer=answer)
    elif job.type == "deletion":
        expect("cancelling a deletion", answer.status, 409, answer=answer, about=(job.id,))
    elif job.done:
        wanted = 200 if job.cancelled else 409
        expect(f"cancelling {job.id}, which has ended", answer.status, wanted, answer=answer, about=(job.id,))
    else:
        expect(f"cancelling {job.type} {job.id}", answer.status, 200, 409, answer=answer, about=(job.id,))
        if answer.status == 200:
            job.cancelled = job.was_cancelled = job.closed = True
            job.paused = False
            job.loose |= job.source is not None  # what was not listed yet never will be
            for entry in job.entries:
                entry.outcomes |= {"cancelled"}
        run.settle(job) if job.closed else None
    return f"cancel {job.type} {job.id} → {answer.status}"


def pause_job(run: Run, rng: random.Random) -> str | None:
    """A job that is under way. It is resumed later."""
    job = _picked(run, rng, unfinished=0.95)
    if job is None or job.type in ("reindex", "comparison", "deletion") or job.gone:
        return None
    run.say(f"pause {job.type} {job.id}")
    answer = run.server.post(f"/v1/jobs/{job.id}/pause")
    allowed = [409] if job.done else [200, 409]
    expect(f"pausing {job.type} {job.id}", answer.status, *allowed, answer=answer, about=(job.id,))
    if answer.status == 200:
        job.paused = True
    return f"pause {job.type} {job.id} → {answer.status}"


def resume_job(run: Run, rng: random.Random) -> str | None:
    """A paused job."""
    jobs = [job for job in run.world.unfinished() if job.paused]
    if not jobs:
        return None
    job = rng.choice(jobs)
    run.say(f"resume {job.type} {job.id}")
    run.resume(job)
    return f"resume {job.type} {job.id}"


def retry_job(run: Run, rng: random.Random) -> str | None:
    """What failed of a job, which fails again: nothing was wrong but the files. Without any, nothing happens."""
    done = [job for job in run.world.jobs.values() if job.counts and not job.gone and job.type in ("upload", "import")]
    failed = [job for job in done if job.counts and job.counts["failed"]]
    if not done:
        return None
    job = rng.choice(failed) if failed and rng.random() < 0.8 else rng.choice(done)
    assert job.counts is not None
    run.say(f"retry {job.type} {job.id}")
    answer = run.server.post(f"/v1/jobs/{job.id}/retry")
    kept = job.source is not None or not job.counts["failed"]
    expect(f"retrying {job.id}", answer.status, 200 if kept else 409, answer=answer, about=(job.id,))
    if answer.status == 200 and job.counts["failed"]:
        job.counts, job.cancelled = None, False
        for entry in job.entries:
            if entry.data is not None and "failed" in entry.outcomes:
                entry.outcomes |= {"indexed", "duplicate", "failed"}
        run.settle(job)
    return f"retry {job.type} {job.id} → {answer.status}"


def settle(run: Run, rng: random.Random) -> str:
    """Wait for all that can end by itself."""
    jobs = len(run.world.unfinished())
    run.say(f"settle {jobs} jobs")
    if rng.random() < 0.5:
        run.settle()
    run.learn()
    return f"settle {jobs} jobs"
