"""Model versions: registered, activated, gone back from, retired; loaded by their hash wherever a worker starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import func
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction, autocommit
from umbel.base.errors import Conflict
from umbel.base.tables import ModelVersion
from umbel.base.types import ModelState
from umbel.insights import nearest_neighbors
from umbel.jobs import job_rows
from umbel.models import partitions, reindexes, version_rows
from umbel.models.calibration import Calibration


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint: its two files, and what its card says. split: who was learnt from, and who judged on; if known."""

    weights: bytes
    card_file: bytes
    name: str
    architecture: str
    dim: int
    weights_sha256: str
    preprocessing_hash: str
    card: dict[str, Any]
    split: bytes | None = None


def register(session: Session, blobs: Blobs, candidate: Candidate) -> ModelVersion:
    """Make a checkpoint known: its files to the blob store, its row, a partition to be filled.

    Registering the same weights again returns the version that is there, puts back files that were lost, and brings a
    retired one back. Raises Conflict for known weights with another preprocessing and while a retired one's vectors
    are still being removed; TransientError.
    """
    version_rows.lock_registration(session)
    known = _find_known(session, candidate)
    files = [*zip(blob_keys(candidate.weights_sha256), (candidate.weights, candidate.card_file), strict=True)]
    if candidate.split is not None:
        files.append((split_key(candidate.weights_sha256), candidate.split))
    for key, file in files:
        if not blobs.exists(key):
            blobs.put(key, file)
    if known is not None and known.state != ModelState.RETIRED:
        return known
    if known is None:
        known = version_rows.insert_model_version(
            session,
            name=candidate.name,
            architecture=candidate.architecture,
            dim=candidate.dim,
            weights_sha256=candidate.weights_sha256,
            preprocessing_hash=candidate.preprocessing_hash,
            card=candidate.card,
        )
    elif partitions.has_partition(session, known.id):
        raise Conflict(f"The vectors of {known.name!r} are still being removed; try again in a minute.")
    else:
        version_rows.change_version(session, known.id, state=ModelState.REGISTERED, retired_at=None)
    partitions.create_partition(session, known.id, known.dim, indexed=False)
    return known


def _find_known(session: Session, candidate: Candidate) -> ModelVersion | None:
    """The version with these weights. Raises Conflict if it prepares pictures in another way."""
    known = version_rows.find_version_by_weights(session, candidate.weights_sha256)
    if known is not None and known.preprocessing_hash != candidate.preprocessing_hash:
        raise Conflict(f"These weights are registered as {known.name!r}, with another preprocessing.")
    return known


def register_first(session: Session, blobs: Blobs, candidate: Candidate) -> ModelVersion:
    """The active version; `candidate`, registered and activated, where there is none yet."""
    version_rows.lock_registration(session)
    active = version_rows.find_active_version(session)
    if active is not None:
        return active
    version = register(session, blobs, candidate)
    partitions.create_partition(session, version.id, version.dim)  # nothing to be filled first: with its index
    version_rows.activate_version(session, version.id)
    return version


def activate(transaction: Transaction, version_id: UUID) -> ModelVersion:
    """Make a version the one that searches use. Twice is harmless. Searches under way end with the old one.

    Raises NotFound, and Conflict for one that lacks pictures which can be found now.
    """
    with transaction() as session:
        version_rows.lock_states(session)
        version = version_rows.get_version(session, version_id)
        active = version_rows.get_active_version(session)
        if version.id == active.id:
            return version
        if version.state == ModelState.RETIRED:
            raise Conflict(f"The model {version.name!r} is retired: its vectors are gone. Register it again.")
        lacking = reindexes.count_lacking(session, active=active.id, version_id=version.id)
        if lacking:
            raise Conflict(f"The model {version.name!r} lacks {lacking:,} pictures; reindex with it first.")
        reindex = reindexes.find_running(session)
        if reindex is not None and version.state == ModelState.BACKFILLING:
            raise Conflict(f"Job {reindex.job_id} is still at work on {version.name!r}; wait for its end or cancel it.")
        switch(session, version.id)
        return version_rows.get_version(session, version.id)


def rollback(transaction: Transaction, version_id: UUID) -> ModelVersion:
    """Go back from the active version `version_id` to the one it replaced, which is returned.

    Raises NotFound, and Conflict where that is not possible: nothing was replaced, or it has not been kept.
    """
    with transaction() as session:
        version_rows.lock_states(session)
        version = version_rows.get_version(session, version_id)
        if version.state != ModelState.ACTIVE:
            raise Conflict(f"The model {version.name!r} is not active, so there is nothing to go back from.")
        if version.replaced_id is None:
            raise Conflict(f"The model {version.name!r} replaced no other.")
        former = version_rows.get_version(session, version.replaced_id)
        if former.state != ModelState.READY:
            raise Conflict(
                f"The model {former.name!r} was not kept up to date; it is {former.state}. Reindex with it first."
            )
        version_rows.activate_version(session, former.id)
        job_rows.end_indexing(session, version.id)
        return version_rows.get_version(session, former.id)


def retire(transaction: Transaction, version_id: UUID) -> ModelVersion:
    """Give up a version's vectors; its files stay, and registering it again brings it back. Twice is harmless.

    They are removed by the sweep, once no search that began before can need them. Raises NotFound, Conflict.
    """
    with transaction() as session:
        version_rows.lock_states(session)
        version = version_rows.get_version(session, version_id)
        if version.state == ModelState.ACTIVE:
            raise Conflict(f"The model {version.name!r} is active; activate another first.")
        if version.state == ModelState.BACKFILLING:
            raise Conflict(f"A reindex is at work on {version.name!r}; cancel it first.")
        if version.state != ModelState.RETIRED:
            version_rows.change_version(session, version_id, state=ModelState.RETIRED, retired_at=func.now())
            session.refresh(version)
        return version


def switch(session: Session, version_id: UUID) -> None:
    """Make a version active in this transaction, which holds `lock_states`; the old one is kept for a rollback."""
    active = version_rows.get_active_key(session)
    version_rows.activate_version(session, version_id, replaced=active.id)
    job_rows.end_indexing(session, active.id)  # a load needs no index of a version that is not searched


def drop_retired(transaction: Transaction, *, seconds: float) -> list[UUID]:
    """Remove the vectors of versions that were retired `seconds` ago; these. Raises NotReady, TransientError."""
    with transaction() as session:
        there = partitions.list_partitions(session)
        doomed = [each for each in version_rows.list_doomed(session, seconds=seconds) if each in there]
    for version_id in doomed:
        with autocommit() as connection:
            partitions.drop_partition(connection, version_id)
        with transaction() as session:
            nearest_neighbors.delete_of_version(session, version_id)
    return doomed


def fetch_checkpoint(blobs: Blobs, weights_sha256: str, folder: Path) -> Path:
    """Copy a registered checkpoint from the blob store into `folder`, unless it is there. Returns the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in blob_keys(weights_sha256):
        target = folder / f"{weights_sha256}{Path(key).suffix}"
        if not target.exists():
            part = target.with_suffix(target.suffix + ".part")
            part.write_bytes(blobs.get(key))
            part.replace(target)
    return folder / f"{weights_sha256}.safetensors"


def blob_keys(weights_sha256: str) -> tuple[str, str]:
    """Where a checkpoint's weights and card are kept."""
    return f"models/{weights_sha256}/weights.safetensors", f"models/{weights_sha256}/card.json"


def split_key(weights_sha256: str) -> str:
    """Where it is kept who a checkpoint was trained on."""
    return f"models/{weights_sha256}/split.json"


def calibration_of(version: ModelVersion) -> Calibration | None:
    """What the version's card says of distances and votes; None where it says nothing."""
    try:
        return Calibration.model_validate(version.card["calibration"])
    except (KeyError, ValidationError):
        return None
