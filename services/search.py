"""Searching: the vector of the query, then the images nearest to it."""

import time
from dataclasses import dataclass
from threading import Event
from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session

from core.doorbell import Doorbell
from core.errors import DecoderDied, InvalidInput, NotFound, NotReady, PictureError, QueueUnavailable, UmbelError
from core.pictures import inspect
from core.settings import Settings
from core.types import Lane, Vector
from db import embeddings, images, model_versions, queries, search
from db.models import ModelVersion
from db.notify import LOOK_SECONDS, Listener
from db.queries import Answer
from db.search import Found, Scope
from db.session import Transaction


@dataclass(frozen=True, slots=True)
class Query:
    """A unit vector and the model version it belongs to."""

    vector: Vector
    version: ModelVersion


def query_by_vector(session: Session, values: list[float]) -> Query:
    """A caller's own vector, brought to unit length. Raises InvalidInput."""
    version = model_versions.get_active_version(session)
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (version.dim,):
        raise InvalidInput(f"The vector has {vector.size} numbers; the active model's have {version.dim}.")
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm < 1e-12:
        raise InvalidInput("The vector must be finite and not zero.")
    return Query((vector / norm).astype(np.float32), version)


def query_by_image(session: Session, image_id: UUID) -> Query:
    """The stored vector of an image. Raises NotFound, and NotReady while the image is not embedded yet."""
    version = model_versions.get_active_version(session)
    vector = embeddings.find_vector(session, version.id, image_id)
    if vector is None:
        status = images.get_image(session, image_id).status
        if status == "failed":
            raise NotFound(f"Image {image_id} could not be embedded, so it has no vector to search by.")
        raise NotReady(f"Image {image_id} is not embedded yet.")
    return Query(vector, version)


def query_by_picture(
    transaction: Transaction, listener: Listener, doorbell: Doorbell, settings: Settings, picture: bytes
) -> Query:
    """The vector of a picture that is in no collection, embedded by a worker while we wait.

    Raises PictureError, QueueUnavailable when no worker can be called, NotReady when none answers in time.
    """
    inspect(picture, settings)
    with transaction() as session:
        query_id = queries.insert_query(session, picture)
    try:
        with listener.expecting(f"query {query_id}") as answered:
            if not doorbell.ring(Lane.QUERY):
                raise QueueUnavailable("Redis cannot be reached, so no worker can be asked to embed the picture.")
            answer = _await_answer(transaction, answered, query_id, settings.query_seconds)
    except Exception:
        with transaction() as session:
            queries.delete_query(session, query_id)
        raise
    if answer.error is not None:
        raise refusal(*answer.error)
    with transaction() as session:
        version = model_versions.get_version(session, answer.model_version_id)  # type: ignore[arg-type]
    return Query(answer.vector, version)  # type: ignore[arg-type]


def find_matches(session: Session, query: Query, *, k: int, scope: Scope, exact: bool = False) -> Found:
    """Up to k images nearest to `query` in `scope`."""
    return search.nearest_images(session, query.vector, version=query.version, k=k, scope=scope, exact=exact)


def _await_answer(transaction: Transaction, answered: Event, query_id: UUID, seconds: float) -> Answer:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        answered.wait(min(left, LOOK_SECONDS))
        with transaction() as session:
            answer = queries.take_answer(session, query_id)
        if answer is not None:
            return answer
    raise NotReady(f"No worker embedded the picture within {seconds:g} seconds.")


def refusal(code: str, detail: str) -> UmbelError:
    """The error a worker wrote down, as the class it had there."""
    known: dict[str, type[UmbelError]] = {error.code: error for error in _subclasses(PictureError)}
    known[DecoderDied.code] = DecoderDied
    return known.get(code, PictureError)(detail)


def _subclasses(cls: type[PictureError]) -> list[type[PictureError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _subclasses(sub))]
