"""Who may do what to a job: every type of job, every action, every kind of key."""

import io
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.callers import OURS, assert_rejected, call, make_key
from umbel.access.keys import KeyScope
from umbel.base.database import transaction
from umbel.base.types import JobType
from umbel.jobs.jobs import BULK

READ, UPLOAD, WRITE, ADMIN = KeyScope
THEIRS = "theirs"
ACTIONS = ("close", "cancel", "pause", "resume", "retry")
TAKES_ADMIN = {JobType.REPAIR, JobType.REINDEX, JobType.DELETION}
COMPUTED = {JobType.COMPARISON, JobType.MAP, *BULK}  # they take an administrator's key if an administrator began them
REFUSED = {(job, "close") for job in TAKES_ADMIN | COMPUTED | {JobType.SYNC}} | {(JobType.DELETION, "cancel")}


@pytest.fixture(scope="module")
def app(app: Flask, shared_gallery: None) -> Flask:
    app.config["REQUIRE_KEYS"] = True
    return app


@pytest.fixture(scope="module")
def keys(app: Flask) -> dict[tuple[KeyScope, str | None], str]:
    """{(scope, collection): key}; None: for all collections."""
    return {
        (scope, place): make_key(scope, *([place] if place else [])) for scope in KeyScope for place in (None, OURS)
    }


def begin(job_type: JobType, collection: str | None, key: str | None = None) -> dict[str, str]:
    """A job at work that this key began, as the arguments of paths that lead to it."""
    with transaction() as session:
        if collection:
            named = {"name": collection}
            session.execute(text("INSERT INTO collection (name) VALUES (:name) ON CONFLICT DO NOTHING"), named)
        statement = text("""
            INSERT INTO job (type, collection_id, closed, api_key_id) VALUES (:type,
                (SELECT id FROM collection WHERE name = :name), false,
                (SELECT id FROM api_key WHERE prefix = :prefix)) RETURNING id
        """)
        values = {"type": job_type, "name": collection, "prefix": key and key.split("_")[1]}
        return {"job_id": str(session.execute(statement, values).scalar_one())}


def state_of(job_id: str) -> Any:
    with transaction() as session:
        return session.execute(text("SELECT closed, paused, cancelling FROM job WHERE id = :id"), {"id": job_id}).one()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("job_type", JobType)
@pytest.mark.parametrize("collection", [OURS, THEIRS, None])
def test_an_action_takes_the_scope_of_what_the_job_does(
    app: Flask, keys: dict[Any, str], job_type: JobType, action: str, collection: str | None
) -> None:
    for (scope, place), key in keys.items():
        if scope in (READ, UPLOAD) and collection != OURS:
            continue  # they may nothing anywhere
        # Who began a job matters where it computes something, to those who reach it.
        for beginner in (None, keys[WRITE, None], keys[ADMIN, None]) if job_type in COMPUTED and not place else (None,):
            admins = job_type in TAKES_ADMIN or (job_type in COMPUTED and beginner == keys[ADMIN, None])
            at = begin(job_type, collection, beginner)
            answer = call(app, f"jobs.{action}_job", key, at=at)
            if scope not in (WRITE, ADMIN):
                assert_rejected(answer, 403, "forbidden")
            elif place not in (None, collection):
                assert_rejected(answer, 404, "not_found")
            elif admins and scope is not ADMIN:
                assert_rejected(answer, 403, "forbidden")
            elif (job_type, action) in REFUSED:
                assert_rejected(answer, 409, "action_refused")
            else:
                assert answer.status_code == 200, answer.text
                continue
            assert state_of(at["job_id"]) == (False, False, False)


def test_every_action_is_written_down(app: Flask, keys: dict[Any, str]) -> None:
    at = begin(JobType.IMPORT, OURS)
    call(app, "jobs.pause_job", keys[WRITE, OURS], at=at)
    deletion = begin(JobType.DELETION, OURS)
    call(app, "jobs.cancel_job", keys[ADMIN, None], at=deletion)
    refused, paused = _audited(app, keys, 2)
    assert paused["action"] == "jobs.pause_job"
    assert paused["target"] == f"/v1/jobs/{at['job_id']}/pause"
    assert paused["actor"] == f"test ({keys[WRITE, OURS].split('_')[1]})"
    assert (paused["status"], paused["details"]) == (200, {"type": "import", "collection": OURS})
    assert (refused["status"], refused["details"]) == (409, {"type": "deletion", "collection": OURS})


def test_a_deleted_image_is_written_down(app: Flask, keys: dict[Any, str]) -> None:
    form = {"file": (io.BytesIO(image_bytes(1)), "a.jpg"), "collection": OURS, "name": "tulips/1.jpg"}
    image = call(app, "images.upload_image", keys[WRITE, OURS], data=form).get_json()["image_id"]
    sha256 = call(app, "images.get_image", keys[READ, OURS], at={"image_id": image}).get_json()["sha256"]
    assert call(app, "images.remove_image", keys[WRITE, OURS], at={"image_id": image}).status_code == 204
    [event] = _audited(app, keys, 1)
    assert (event["action"], event["status"]) == ("images.remove_image", 204)
    assert event["details"] == {"collection": OURS, "name": "tulips/1.jpg", "sha256": sha256}


@pytest.mark.parametrize("job_type", [type for type in JobType if type is not JobType.IMPORT])
def test_no_image_lands_in_a_job_that_takes_none(app: Flask, keys: dict[Any, str], job_type: JobType) -> None:
    """Neither one that is taken nor the failed item of one that is rejected."""
    for collection in (OURS, THEIRS, None):
        at = begin(job_type, collection)
        for data in (image_bytes(2), b"no picture"):
            form = {"file": (io.BytesIO(data), "a.jpg"), "collection": OURS, **at}
            assert call(app, "images.upload_image", keys[WRITE, None], data=form).status_code in (415, 422)
        with transaction() as session:
            items = text("SELECT count(*) FROM job_item WHERE job_id = :job")
            assert session.execute(items, {"job": UUID(at["job_id"])}).scalar_one() == 0


def _audited(app: Flask, keys: dict[Any, str], limit: int) -> list[Any]:
    answer = call(app, "admin.list_audit", keys[ADMIN, None], query_string={"limit": limit})
    items: list[Any] = answer.get_json()["items"]
    return items
