"""Model versions: registered, activated, asked for. Exactly one is active, by a partial unique index."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from core.errors import NotFound, NotReady
from core.types import ModelState
from db.models import ModelVersion

NO_MODEL = "No model is active yet: a worker registers one when it first starts."


@dataclass(frozen=True, slots=True)
class VersionKey:
    """What a search needs to know of a version; its card is long."""

    id: UUID
    dim: int


def insert_model_version(
    session: Session,
    *,
    name: str,
    architecture: str,
    dim: int,
    weights_sha256: str,
    preprocessing_hash: str,
    card: dict[str, Any],
) -> ModelVersion:
    """A new version in the state `registered`. Its partition is made apart (db/partitions.py)."""
    version = ModelVersion(
        name=name,
        architecture=architecture,
        dim=dim,
        weights_sha256=weights_sha256,
        preprocessing_hash=preprocessing_hash,
        card=card,
        state=ModelState.REGISTERED,
    )
    session.add(version)
    session.flush()
    return version


def find_active_version(session: Session) -> ModelVersion | None:
    return session.scalar(select(ModelVersion).where(ModelVersion.state == ModelState.ACTIVE))


def get_active_version(session: Session) -> ModelVersion:
    """Raises NotReady when no model is active yet."""
    version = find_active_version(session)
    if version is None:
        raise NotReady(NO_MODEL)
    return version


def get_active_key(session: Session) -> VersionKey:
    """Id and width of the active version. Raises NotReady when no model is active yet."""
    row = session.execute(
        select(ModelVersion.id, ModelVersion.dim).where(ModelVersion.state == ModelState.ACTIVE)
    ).first()
    if row is None:
        raise NotReady(NO_MODEL)
    return VersionKey(*row)


def get_version(session: Session, version_id: UUID) -> ModelVersion:
    """Raises NotFound."""
    version = session.get(ModelVersion, version_id)
    if version is None:
        raise NotFound(f"There is no model version {version_id}.")
    return version


def find_version_by_weights(session: Session, weights_sha256: str) -> ModelVersion | None:
    return session.scalar(select(ModelVersion).where(ModelVersion.weights_sha256 == weights_sha256))


def list_versions(session: Session) -> list[ModelVersion]:
    """Newest first."""
    return list(session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc())))


def activate_version(session: Session, version_id: UUID) -> None:
    """Make `version_id` the one and only active version."""
    session.execute(update(ModelVersion).where(ModelVersion.state == ModelState.ACTIVE).values(state=ModelState.READY))
    active = {"state": ModelState.ACTIVE, "activated_at": text("now()")}
    session.execute(update(ModelVersion).where(ModelVersion.id == version_id).values(active))


def lock_registration(session: Session) -> None:
    """Workers that start together register one after another; held until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('umbel model registration'))"))
