"""Rows of the calibrations that collections have of their own: one for each model version, dropped with either."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from umbel.base.tables import CollectionCalibration, ModelVersion
from umbel.base.types import ModelState
from umbel.models import partitions
from umbel.models.calibration import Calibration, calibration_of

TABLE = CollectionCalibration


@dataclass(frozen=True, slots=True)
class OwnCalibration:
    """A collection's own calibration for one model version."""

    model_version_id: UUID
    calibration: Calibration
    calibrated_at: datetime


def upsert_calibration(
    session: Session, collection_id: UUID, version_id: UUID, calibration: Calibration
) -> OwnCalibration:
    """Keep it, in place of the former one. It is dated when the transaction began."""
    values = {"calibration": calibration.model_dump(mode="json"), "calibrated_at": func.now()}
    statement = insert(TABLE).values(collection_id=collection_id, model_version_id=version_id, **values)
    statement = statement.on_conflict_do_update(index_elements=["collection_id", "model_version_id"], set_=values)
    at = session.execute(statement.returning(TABLE.calibrated_at)).scalar_one()
    return OwnCalibration(version_id, calibration, at)


def copy_calibrations(session: Session, version_id: UUID, to: UUID) -> None:
    """Let calibrations for one version hold for another of the same model, too, where it has none of its own."""
    known = select(TABLE.collection_id, literal(to), TABLE.calibration, TABLE.calibrated_at)
    columns = ["collection_id", "model_version_id", "calibration", "calibrated_at"]
    statement = insert(TABLE).from_select(columns, known.where(TABLE.model_version_id == version_id))
    session.execute(statement.on_conflict_do_nothing())


def list_calibrations(session: Session, collection_id: UUID) -> list[OwnCalibration]:
    """Of a collection, for every version that it was calibrated with, the latest first."""
    rows = session.execute(
        select(TABLE.model_version_id, TABLE.calibration, TABLE.calibrated_at)
        .where(TABLE.collection_id == collection_id)
        .order_by(TABLE.calibrated_at.desc())
    )
    return [OwnCalibration(version, known, at) for version, stored, at in rows if (known := _read(stored))]


def find_calibration(session: Session, collection_id: UUID, version_id: UUID) -> OwnCalibration | None:
    """The collection's own calibration for this version, if it has one."""
    own = list_calibrations(session, collection_id)
    return next((one for one in own if one.model_version_id == version_id), None)


def calibration_for(session: Session, collection_id: UUID | None, version: ModelVersion) -> Calibration | None:
    """The collection's own calibration for this version, else the one in the version's card; None without either."""
    own = find_calibration(session, collection_id, version.id) if collection_id else None
    return own.calibration if own else calibration_of(version)


def delete_calibrations(session: Session, *, collection_id: UUID | None = None, version_id: UUID | None = None) -> int:
    """Remove those of a collection or of a version. Returns how many there were."""
    of = TABLE.collection_id == collection_id if collection_id else TABLE.model_version_id == version_id
    return session.execute(delete(TABLE).where(of)).rowcount  # type: ignore[attr-defined]


def list_stale(session: Session) -> list[tuple[UUID, UUID]]:
    """(collection, version) of calibrations for versions whose vectors are gone."""
    retired = select(ModelVersion.id).where(ModelVersion.state == ModelState.RETIRED)
    of_retired = TABLE.model_version_id.in_(retired)
    there = set(partitions.list_partitions(session))
    rows = session.execute(select(TABLE.collection_id, TABLE.model_version_id).where(of_retired))
    return [(collection, version) for collection, version in rows if version not in there]


def _read(stored: object) -> Calibration | None:
    """None for one that a later version of Umbel has written."""
    try:
        return Calibration.model_validate(stored)
    except ValidationError:
        return None
