"""What happens to a model version after its registration: activated, rolled back, retired, its vectors dropped."""

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from umbel.base import tallies
from umbel.base.database import Transaction, autocommit
from umbel.base.errors import Conflict, TransientError
from umbel.base.tables import ModelVersion, NearestNeighbors
from umbel.base.types import EventType, ModelState
from umbel.events.log import insert_event
from umbel.jobs import jobs
from umbel.models import collection_calibrations, partitions, reindexes, versions

log = structlog.get_logger()

BATCH = 2_000  # rows deleted in one transaction


def activate(transaction: Transaction, version_id: UUID) -> ModelVersion:
    """Make a version the one that searches use. Twice is harmless. Searches under way end with the old one.

    Raises NotFound, and Conflict for one that lacks pictures which can be found now.
    """
    with transaction() as session:
        versions.lock_states(session)
        version = versions.get_version(session, version_id)
        active = versions.get_active_version(session)
        if version.id == active.id:
            return version
        if version.state == ModelState.RETIRED:
            raise Conflict(f"The model {version.name!r} is retired: its vectors are gone. Register it again.")
        if version.is_external:
            raise Conflict(f"The model {version.name!r} is external: no worker can embed with it. Name it in searches.")
        lacking = reindexes.count_lacking(session, active=active.id, version_id=version.id)
        if lacking:
            raise Conflict(f"The model {version.name!r} lacks {lacking:,} pictures; reindex with it first.")
        reindex = reindexes.find_running(session)
        if reindex is not None and version.state == ModelState.BACKFILLING:
            raise Conflict(f"Job {reindex.job_id} is still at work on {version.name!r}; wait for its end or cancel it.")
        switch(session, version.id)
        return versions.get_version(session, version.id)


def rollback(transaction: Transaction, version_id: UUID) -> ModelVersion:
    """Go back from the active version `version_id` to the one it replaced, which is returned.

    Raises NotFound, and Conflict where that is not possible: nothing was replaced, or the former version fell behind.
    """
    with transaction() as session:
        versions.lock_states(session)
        version = versions.get_version(session, version_id)
        if version.state != ModelState.ACTIVE:
            raise Conflict(f"The model {version.name!r} is not active, so there is nothing to go back from.")
        if version.replaced_id is None:
            raise Conflict(f"The model {version.name!r} replaced no other.")
        former = versions.get_version(session, version.replaced_id)
        if former.state != ModelState.READY:
            raise Conflict(
                f"The model {former.name!r} was not maintained; it is {former.state}. Reindex with it first."
            )
        versions.activate_version(session, former.id)
        jobs.end_indexing(session, version.id)
        insert_event(session, EventType.MODEL_ROLLED_BACK, _told(former, version))
        return versions.get_version(session, former.id)


def retire(transaction: Transaction, version_id: UUID) -> ModelVersion:
    """Give up a version's vectors; its files stay, and registering it again brings it back. Twice is harmless.

    They are removed by the sweep, once no search that began before can need them. Raises NotFound, Conflict.
    """
    with transaction() as session:
        versions.lock_states(session)
        version = versions.get_version(session, version_id)
        if version.state == ModelState.ACTIVE:
            raise Conflict(f"The model {version.name!r} is active; activate another first.")
        if version.state == ModelState.BACKFILLING:
            raise Conflict(f"A reindex is at work on {version.name!r}; cancel it first.")
        if version.state != ModelState.RETIRED:
            versions.change_version(session, version_id, **versions.RETIRED)
            session.refresh(version)
        return version


def switch(session: Session, version_id: UUID) -> None:
    """Make a version active in this transaction, which holds `lock_states`; the former one becomes the standby."""
    active, version = versions.get_active_version(session), versions.get_version(session, version_id)
    versions.activate_version(session, version_id, replaced=active.id)
    if version.weights_sha256 == active.weights_sha256:
        collection_calibrations.copy_calibrations(session, active.id, version_id)
    jobs.end_indexing(session, active.id)  # a load needs no index of a version that is not searched
    insert_event(session, EventType.MODEL_SWITCHED, _told(version, active))


def _told(now: ModelVersion, before: ModelVersion) -> dict[str, Any]:
    """What an event says of a switch."""
    return {"model_version": str(now.id), "name": now.name, "replaced": str(before.id), "replaced_name": before.name}


def list_doomed(transaction: Transaction, *, seconds: float) -> list[UUID]:
    """The versions that were retired `seconds` ago and still have their vectors. Raises NotReady."""
    with transaction() as session:
        old = versions.list_doomed(session, seconds=seconds)
        return [each for each in partitions.list_partitions(session) if each in old]


def drop_retired(transaction: Transaction, *, seconds: float) -> list[UUID]:
    """Remove the vectors of versions that were retired `seconds` ago. Returns these; others are left to the next time.

    Raises NotReady.
    """
    dropped = []
    for version_id in list_doomed(transaction, seconds=seconds):
        try:
            _drop(transaction, version_id)
            dropped.append(version_id)
        except TransientError as error:
            log.warning("vectors cannot be dropped now", model_version_id=str(version_id), error=error.detail)
    return dropped


def _drop(transaction: Transaction, version_id: UUID) -> None:
    """Killed midway, its partition is still there, and all of it is done again. Raises NotReady, TransientError."""
    with autocommit() as session:
        partitions.detach_partition(session, version_id)
    of_version = NearestNeighbors.model_version_id == version_id
    some = select(NearestNeighbors.image_id).where(of_version).limit(BATCH)
    deleted = BATCH
    while deleted == BATCH:
        with transaction() as session:
            gone = session.scalars(
                delete(NearestNeighbors)
                .where(of_version, NearestNeighbors.image_id.in_(some))
                .returning(NearestNeighbors.image_id)
            )
            deleted = len(gone.all())
    with transaction() as session:
        collection_calibrations.delete_calibrations(session, version_id=version_id)
        tallies.forget_version(session, version_id)
        partitions.drop_partition(session, version_id)
