"""Idempotency keys: a request that is repeated under its key is answered as the first one was.

A key lives as long as the job in its answer, and is free again as soon as that job's collection is deleted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from umbel.base.errors import IdempotencyKeyReused
from umbel.base.tables import Collection, IdempotencyKey, Job


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """key: one caller's own. sha256: of all that the request asks for."""

    key: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What a request led to. image_id: None for an import, and for an upload whose image was rejected."""

    job_id: UUID
    image_id: UUID | None = None
    duplicate: bool = False


def keyed_request(key: str | None, **asked: Any) -> KeyedRequest | None:
    """The request for what is `asked` under a key; None without one."""
    return KeyedRequest(key, sha256(json.dumps(asked, sort_keys=True, default=str).encode()).digest()) if key else None


# Have other requests with these keys wait until the transaction ends.
LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('idempotency ' || key, 0)) FROM unnest(CAST(:keys AS text[])) key
""")
# Keep the first answers. A key whose collection is deleted, and its job not yet, is taken over.
INSERT = text("""
    INSERT INTO idempotency_key (key, request_sha256, job_id, image_id, duplicate)
    SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:hashes AS bytea[]), CAST(:jobs AS uuid[]),
                         CAST(:images AS uuid[]), CAST(:duplicates AS bool[]))
    ON CONFLICT (key) DO UPDATE SET request_sha256 = excluded.request_sha256, job_id = excluded.job_id,
                                    image_id = excluded.image_id, duplicate = excluded.duplicate
""")


def find_first_answers(
    session: Session, requests: Sequence[KeyedRequest]
) -> dict[KeyedRequest, FirstAnswer | IdempotencyKeyReused]:
    """Those of `requests` whose keys were used before. Others with the same keys wait until this transaction ends."""
    if not requests:
        return {}
    by_key = {request.key: request for request in requests}
    session.execute(LOCK, {"keys": sorted(by_key)})
    used = (
        select(IdempotencyKey)
        .join(Job, Job.id == IdempotencyKey.job_id)
        .outerjoin(Collection, Collection.id == Job.collection_id)  # none: a job about several
        .where(IdempotencyKey.key.in_(by_key), Collection.deleted_at.is_(None))
    )
    return {
        by_key[row.key]: FirstAnswer(row.job_id, row.image_id, row.duplicate)
        if row.request_sha256 == by_key[row.key].sha256
        else IdempotencyKeyReused("This Idempotency-Key was used for another request.")
        for row in session.scalars(used)
    }


def find_first_answer(session: Session, request: KeyedRequest | None) -> FirstAnswer | None:
    """As `find_first_answers`, for one request. Raises IdempotencyKeyReused."""
    found = find_first_answers(session, [request]).get(request) if request else None
    if isinstance(found, IdempotencyKeyReused):
        raise found
    return found


def insert_answers(session: Session, answers: Mapping[KeyedRequest, FirstAnswer]) -> None:
    """Keep what is answered to requests, whose keys `find_first_answers` has locked."""
    if not answers:
        return
    values = {
        "keys": [request.key for request in answers],
        "hashes": [request.sha256 for request in answers],
        "jobs": [answer.job_id for answer in answers.values()],
        "images": [answer.image_id for answer in answers.values()],
        "duplicates": [answer.duplicate for answer in answers.values()],
    }
    session.execute(INSERT, values)
