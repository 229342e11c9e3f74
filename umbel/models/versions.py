"""Rows of model versions and the locks around their states. A partial unique index allows one active version."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from umbel.base.errors import NotFound, NotReady
from umbel.base.locks import take_turns
from umbel.base.tables import ModelVersion, ago
from umbel.base.types import EXTERNAL, ModelState

RETIRED = {"state": ModelState.RETIRED, "retired_at": func.now()}
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
    """A new version in the state `registered`. `partitions.create_partition` makes its partition."""
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


def insert_next_generation(session: Session, version: ModelVersion) -> ModelVersion:
    """The same checkpoint as a version of its own, for vectors that are made anew; named `umbel-b0@2`, say."""
    of_checkpoint = ModelVersion.weights_sha256 == version.weights_sha256
    latest = session.scalars(select(func.max(ModelVersion.generation)).where(of_checkpoint)).one()
    first_name = version.name.removesuffix(f"@{version.generation}")
    following = ModelVersion(
        name=f"{first_name}@{latest + 1}",
        architecture=version.architecture,
        dim=version.dim,
        weights_sha256=version.weights_sha256,
        generation=latest + 1,
        preprocessing_hash=version.preprocessing_hash,
        card=version.card,
        hnsw_m=version.hnsw_m,
        hnsw_ef_construction=version.hnsw_ef_construction,
        hnsw_kind=version.hnsw_kind,
        state=ModelState.REGISTERED,
    )
    session.add(following)
    session.flush()
    return following


def retire_superseded(session: Session, version: ModelVersion) -> None:
    """Retire the generations of an active version's checkpoint that fell behind; not the one that it replaced."""
    session.execute(
        update(ModelVersion)
        .where(
            ModelVersion.weights_sha256 == version.weights_sha256,
            ModelVersion.state == ModelState.REGISTERED,
            ModelVersion.id.is_distinct_from(version.replaced_id),
        )
        .values(RETIRED)
    )


def find_active_version(session: Session) -> ModelVersion | None:
    """The version that searches use, if there is one."""
    return session.scalar(select(ModelVersion).where(ModelVersion.state == ModelState.ACTIVE))


def find_standby_version(session: Session) -> ModelVersion | None:
    """The version that has every image and can become active at any moment."""
    return session.scalar(select(ModelVersion).where(ModelVersion.state == ModelState.READY))


def get_active_version(session: Session) -> ModelVersion:
    """The version that searches use. Raises NotReady when no model is active yet."""
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
    """The version with this id. Raises NotFound."""
    version = session.get(ModelVersion, version_id)
    if version is None:
        raise NotFound(f"There is no model version {version_id}.")
    return version


def get_named_key(session: Session, version_id: UUID) -> VersionKey:
    """Id and width of a version that a search names. Raises NotFound, for a retired one too."""
    version = get_version_to_use(session, version_id)
    return VersionKey(version.id, version.dim)


def get_version_to_use(session: Session, version_id: UUID | None) -> ModelVersion:
    """The version that a request names, or (None) the active one.

    Raises NotFound, for a retired one too; NotReady when no model is active yet.
    """
    if version_id is None:
        return get_active_version(session)
    version = get_version(session, version_id)
    if version.state == ModelState.RETIRED:
        raise NotFound(f"The model {version.name!r} is retired: its vectors are gone.")
    return version


def find_version_by_weights(session: Session, weights_sha256: str) -> ModelVersion | None:
    """The version whose weights have this SHA-256: of several the active one, else the newest that is not retired."""
    first = (ModelVersion.state != ModelState.ACTIVE, ModelVersion.state == ModelState.RETIRED, ModelVersion.id.desc())
    statement = select(ModelVersion).where(ModelVersion.weights_sha256 == weights_sha256).order_by(*first)
    return session.scalar(statement.limit(1))


def arithmetic_of(version: ModelVersion) -> Literal["float", "int8"] | None:
    """What a version computes in, by its card; None for an external one, which others compute."""
    if version.architecture == EXTERNAL:
        return None
    return "int8" if version.card.get("quantization") else "float"


def list_versions(session: Session) -> list[ModelVersion]:
    """Newest first."""
    return list(session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc())))


def list_loaded(session: Session) -> list[ModelVersion]:
    """The versions that images, or the vectors of others, are loaded into and searched in: the active one first."""
    external = (ModelVersion.architecture == EXTERNAL) & (ModelVersion.state != ModelState.RETIRED)
    statement = select(ModelVersion).where((ModelVersion.state == ModelState.ACTIVE) | external)
    return list(session.scalars(statement.order_by(ModelVersion.state != ModelState.ACTIVE, ModelVersion.id)))


def list_maintained(session: Session) -> list[UUID]:
    """The versions that every new picture is embedded with: the active one, then the one beside it."""
    maintained = (ModelState.ACTIVE, ModelState.BACKFILLING, ModelState.READY)
    statement = select(ModelVersion.id).where(ModelVersion.state.in_(maintained))
    return list(session.scalars(statement.order_by(ModelVersion.state != ModelState.ACTIVE)))


def list_with_vectors(session: Session) -> set[UUID]:
    """The versions that are not retired."""
    return set(session.scalars(select(ModelVersion.id).where(ModelVersion.state != ModelState.RETIRED)))


def change_version(session: Session, version_id: UUID, **values: Any) -> None:
    """Set columns of a version."""
    session.execute(update(ModelVersion).where(ModelVersion.id == version_id).values(values))


def release_standby(session: Session) -> None:
    """Let the version beside the active one fall behind; the vectors it has stay."""
    standby = ModelVersion.state.in_((ModelState.BACKFILLING, ModelState.READY))
    session.execute(update(ModelVersion).where(standby).values(state=ModelState.REGISTERED))


def activate_version(session: Session, version_id: UUID, *, replaced: UUID | None = None) -> None:
    """Make `version_id` the one active version; the former one, if any, becomes the standby.

    replaced: the version that a rollback returns to. The order leaves at most one active and one standby version after
    each statement.
    """
    active = find_active_version(session)
    release_standby(session)
    if active is not None and active.id != version_id:
        change_version(session, active.id, state=ModelState.READY)
    now = {"state": ModelState.ACTIVE, "activated_at": text("now()")}
    change_version(session, version_id, **now, **({"replaced_id": replaced} if replaced else {}))
    session.get(ModelVersion, version_id, populate_existing=True)  # the time is the database's


def list_doomed(session: Session, *, seconds: float) -> list[UUID]:
    """The versions that were retired `seconds` ago or earlier: no search that began earlier still runs."""
    old = ModelVersion.retired_at < ago(seconds)
    return list(session.scalars(select(ModelVersion.id).where(ModelVersion.state == ModelState.RETIRED, old)))


def lock_registration(session: Session) -> None:
    """Workers that start together register one after another; held until the transaction ends."""
    take_turns(session, "umbel model registration")


def lock_states(session: Session, *, shared: bool = False) -> None:
    """Keep versions' states unchanged while vectors are stored; held until the transaction ends.

    shared: for storing vectors. Take this lock before any other. Writers queue behind a pending state change.
    """
    take_turns(session, "umbel model states", shared=shared)
