"""Rows of a file of vectors, stored: vectors, labels and metadata, and an item of the job for each row."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session
from umbel_files.names import LONGEST_LABEL, normalized, printable

from umbel.base.copy import copy_rows
from umbel.base.database import Transaction
from umbel.base.errors import BadVectors, InvalidInput, NotFound
from umbel.base.storable import check_object, check_text, merged, parse_json
from umbel.base.types import ItemState, Queue, Vectors
from umbel.embedding import embeddings
from umbel.models import versions
from umbel.vectors.rows import GivenRows

SHORTEST = 1e-6  # of a vector that still has a direction
NO_DIRECTION = "The vector must be finite and not zero."
UNKNOWN = "No such image is in the collection."
LONGEST_PATCH = 2**17  # characters of JSON
LONGEST_NAME = 200  # characters of what names an image that is not there

# What a row came to: (image, state, name, code, detail).
Outcome = tuple[UUID | None, ItemState, str | None, str | None, str | None]
ITEMS = {
    "job_id": "uuid", "queue": "text", "image_id": "uuid", "state": "text", "name": "text", "error_code": "text",
    "error_detail": "text", "finished_at": "timestamptz",
}  # fmt: skip


@dataclass(slots=True)
class _Row:
    """An image that gets a vector. at: its place in the file's batch."""

    at: int
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the rows of a file go."""

    job_id: UUID
    version_id: UUID
    dim: int
    collection_id: UUID
    only_vectors: bool

    def store(self, transaction: Transaction, given: GivenRows) -> None:
        """Store a batch with its items, all or nothing. Raises BadVectors, TransientError, NotReady."""
        if given.vectors.shape[1] != self.dim:
            raise BadVectors("The vectors are not all of one length.")
        with transaction() as session:
            versions.lock_states(session, shared=True)
            versions.get_version_to_use(session, self.version_id)
            images = self._find_images(session, given)
            outcomes, rows = self._look(given, images)
            unit, usable = _normalized(given.vectors)
            for image_id, row in list(rows.items()):
                if not usable[row.at]:
                    del rows[image_id]
                    outcomes[row.at] = _failed(images[_key(given, row.at)].name, NO_DIRECTION)
            places = [(image_id, self.collection_id) for image_id in rows]
            embeddings.upsert_embeddings(
                session, self.version_id, places, unit[[row.at for row in rows.values()]], replace=True
            )
            _change_images(session, {image_id: row.changes for image_id, row in rows.items() if row.changes})
            now = datetime.now(UTC)
            # In the queue of what else is done with images that are there: it tells nothing of their own embedding.
            items = [
                (self.job_id, Queue.REINDEX.value, image, state.value, name, code, detail, now)
                for image, state, name, code, detail in outcomes
            ]
            copy_rows(session, "job_item", ITEMS, items)

    def _find_images(self, session: Session, given: GivenRows) -> dict[str, Any]:
        """The images of the collection that the rows name, by what names them, locked."""
        column = "id::text" if given.image_ids is not None else "encode(sha256, 'hex')"
        which = "id = ANY (CAST(:ids AS uuid[]))" if given.image_ids is not None else "sha256 = ANY (:hashes)"
        statement = text(f"""
            SELECT {column} AS key, id, name, label, metadata FROM image
            WHERE collection_id = :collection AND {which} ORDER BY id FOR NO KEY UPDATE
        """)
        names = [one for at in range(len(given.vectors)) if (one := _key(given, at))]
        values: dict[str, Any] = {"collection": self.collection_id}
        if given.image_ids is not None:
            values["ids"] = [name for name in names if _is_uuid(name)]
        else:
            values["hashes"] = [bytes.fromhex(name) for name in names if _is_hash(name)]
        return {row.key: row for row in session.execute(statement, values)}

    def _look(self, given: GivenRows, images: dict[str, Any]) -> tuple[list[Outcome], dict[UUID, _Row]]:
        """What each row comes to, but for its vector; and the images that get one. Of several rows, the last counts."""
        outcomes: list[Outcome] = []
        rows: dict[UUID, _Row] = {}
        for at in range(len(given.vectors)):
            key = _key(given, at)
            image = images.get(key)
            if image is None:
                outcomes.append((None, ItemState.FAILED, printable(key)[:LONGEST_NAME], NotFound.code, UNKNOWN))
                continue
            try:
                row = _Row(at, {} if self.only_vectors else _changes(given, at, image))
            except ValueError as error:
                outcomes.append(_failed(image.name, str(error)))
                continue
            if (before := rows.pop(image.id, None)) is not None:
                outcomes[before.at] = (image.id, ItemState.DUPLICATE, image.name, None, None)
            rows[image.id] = row
            outcomes.append((image.id, ItemState.INDEXED, image.name, None, None))
        return outcomes, rows


def _key(given: GivenRows, at: int) -> str:
    """What names the image of a row."""
    column = given.image_ids if given.image_ids is not None else given.sha256
    return ((column[at] if column else None) or "").lower()


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _is_hash(name: str) -> bool:
    try:
        return len(bytes.fromhex(name)) == 32
    except ValueError:
        return False


def _failed(name: str | None, detail: str) -> Outcome:
    """Without its image, so that it is not tried again: a worker could not."""
    return None, ItemState.FAILED, name, InvalidInput.code, printable(detail)


def _changes(given: GivenRows, at: int, image: Any) -> dict[str, Any]:
    """What the row changes of its image. Raises ValueError for what cannot be kept."""
    changes: dict[str, Any] = {}
    label = given.labels[at] if given.labels is not None else None
    metadata = given.metadata[at] if given.metadata is not None else None
    if label is not None and (kept := _kept("label", _label, label)) != image.label:
        changes["label"] = kept
    if metadata is not None and (becomes := _kept("metadata", _patched, metadata, image.metadata)) != image.metadata:
        changes["metadata"] = becomes
    return changes


def _kept(what: str, check: Callable[..., Any], *given: Any) -> Any:
    try:
        return check(*given)
    except ValueError as error:
        raise ValueError(f"The {what} {error}.") from error


def _label(label: str) -> str:
    label = normalized(check_text(label))
    if not 0 < len(label) <= LONGEST_LABEL:
        raise ValueError(f"must have 1 to {LONGEST_LABEL} characters")
    return label


def _patched(written: str, before: dict[str, Any]) -> dict[str, Any]:
    """Metadata after the JSON Merge Patch that is written in a row."""
    if len(written) > LONGEST_PATCH:
        raise ValueError(f"must not be longer than {LONGEST_PATCH:,} characters")
    patch = parse_json(written)
    if not isinstance(patch, dict):
        raise ValueError("must be a JSON object")
    return check_object(merged(before, patch))


def _change_images(session: Session, changes: dict[UUID, dict[str, Any]]) -> None:
    """Set labels and metadata of locked images."""
    if not changes:
        return
    values = {
        "ids": list(changes),
        "labels": [one.get("label") for one in changes.values()],
        "metadata": [json.dumps(one["metadata"]) if "metadata" in one else None for one in changes.values()],
    }
    session.execute(
        text("""
            UPDATE image SET label = coalesce(given.label, image.label),
                             metadata = coalesce(CAST(given.metadata AS jsonb), image.metadata)
            FROM unnest(CAST(:ids AS uuid[]), CAST(:labels AS text[]), CAST(:metadata AS text[]))
                 AS given(id, label, metadata)
            WHERE image.id = given.id
        """),
        values,
    )


def _normalized(vectors: Vectors) -> tuple[Vectors, Sequence[bool]]:
    """The vectors at unit length, and which of them have a direction."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        unit: Vectors = (vectors / norms).astype(np.float32)
    usable = np.isfinite(norms[:, 0]) & (norms[:, 0] > SHORTEST)
    return unit, usable.tolist()
