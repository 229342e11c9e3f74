"""Answers of the API decoded into typed objects."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from umbel_client import Job, Match, ModelDetail, UmbelClientError, UnexpectedAnswer

ID = uuid4()
COUNTS = {"total": 2, "pending": 1, "indexed": 1, "duplicate": 0, "failed": 0, "cancelled": 0}
JOB: dict[str, Any] = {
    "id": str(ID),
    "type": "import",
    "status": "running",
    "counts": COUNTS,
    "error": None,
    "attempts": 1,
    "created_at": "2026-01-01T12:00:00Z",
    "started_at": "2026-01-01T12:00:01.5Z",
    "finished_at": None,
}
MODEL: dict[str, Any] = {
    "id": str(ID),
    "name": "flowers",
    "architecture": "efficientnet",
    "domain": "flowers",
    "arithmetic": "float",
    "dim": 512,
    "weights_sha256": "00",
    "generation": 1,
    "preprocessing_hash": "11",
    "state": "active",
    "metrics": {"r_at_1": 0.9, "nested": {"any": ["thing", None]}},
    "replaced": None,
    "created_at": "2026-01-01T12:00:00Z",
    "activated_at": None,
}


def test_ids_times_and_nested_answers_are_typed() -> None:
    job = Job.decode(JOB)
    assert job.id == ID
    assert isinstance(job.id, UUID)
    assert job.started_at == datetime(2026, 1, 1, 12, 0, 1, 500_000, tzinfo=UTC)
    assert (job.counts.pending, job.paused, job.source, job.finished) == (1, False, None, False)


def test_what_is_decoded_and_turned_back_is_what_the_api_said() -> None:
    detail = MODEL | {"card": {"classes": [1, 2]}, "index": None}
    assert ModelDetail.decode(detail).as_dict() == detail


def test_fields_and_words_of_a_newer_api_are_no_error() -> None:
    job = Job.decode(JOB | {"status": "resting", "news": 1, "counts": COUNTS | {"more": 3}})
    assert job.status == "resting"
    assert not hasattr(job, "news")


def test_whole_numbers_are_taken_for_fractions() -> None:
    told = {"image_id": str(ID), "name": None, "collection": "c", "label": None, "metadata": {}}
    assert isinstance(Match.decode(told | {"distance": 0, "similarity": 1}).distance, float)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"counts": {"total": 1}}, "Job.counts has no field pending"),
        ({"id": "no-uuid"}, "Job.id"),
        ({"created_at": "yesterday"}, "Job.created_at"),
        ({"attempts": "one"}, "Job.attempts should be int"),
        ({"attempts": None}, "Job.attempts should be int"),
        ({"counts": None}, "Job.counts should be Counts"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=place):
        Job.decode(JOB | changes)


def test_a_missing_field_and_an_answer_that_is_no_object_are_errors_of_the_client() -> None:
    for answer in ({}, [], "no JSON object", None):
        with pytest.raises(UmbelClientError, match="Job"):
            Job.decode(answer)


def test_answers_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Job.decode(JOB).status = "failed"  # type: ignore[misc]
