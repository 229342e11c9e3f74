"""Searching: the vector of the query, then the images nearest to it."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from threading import Event
from uuid import UUID, uuid4

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from umbel.base.database import transaction
from umbel.base.errors import (
    DecoderDied,
    ImageError,
    InvalidInput,
    NotEmbedded,
    NotFound,
    NotReady,
    QueueUnavailable,
    TransientError,
    UmbelError,
)
from umbel.base.metrics import QUERY_VECTORS, SEARCHES
from umbel.base.notify import LOOK_SECONDS, Listener
from umbel.base.settings import Settings
from umbel.base.types import Box, ItemState, Queue, Vector
from umbel.decoding.images import quick_look
from umbel.embedding import embeddings, query_images
from umbel.embedding.query_images import Answer, Picture
from umbel.gallery import images
from umbel.jobs.wakeup import Waker
from umbel.models import versions
from umbel.models.versions import NO_MODEL, VersionKey
from umbel.search import nearest
from umbel.search.nearest import Found, Place, Scope

SOON_SECONDS = 0.25  # in which a worker that listens has answered, unless it is busy
BROKER_TIMEOUT = 2.0  # how long to wait for an answer when no worker can be woken
SHORTEST = 1e-6  # of a vector that still has a direction


@dataclass(frozen=True, slots=True)
class Query:
    """What to search by: a unit vector, or the one image that has it.

    version: whose vector it is; None: the active one's. examples: images that it was made of, which never match.
    """

    vector: Vector | None
    version: VersionKey | None = None
    examples: tuple[UUID, ...] = ()


def query_by_vector(values: Sequence[float], version: VersionKey | None = None) -> Query:
    """A caller's own vector, of a version (None: the active one), brought to unit length. Raises InvalidInput."""
    return Query(_unit(np.asarray(values, dtype=np.float64), "The vector must be finite and not zero."), version)


def query_by_image(image_id: UUID, version: VersionKey | None = None) -> Query:
    """The vector of an image of the gallery under a version (None: the active one), which the search looks up."""
    return Query(None, version, examples=(image_id,))


def query_by_images(
    session: Session,
    positive: Sequence[UUID],
    negative: Sequence[UUID] = (),
    version: VersionKey | None = None,
) -> Query:
    """More like these, less like those: the mean of the positive images' vectors, and away from the negatives' mean.

    With negatives the vector is 2 · mean(positive) - mean(negative), brought to unit length: as far beyond the
    positives as they are from the negatives. Source: J. Rocchio, "Relevance Feedback in Information Retrieval" (1971);
    Qdrant's recommendation API calls it the average vector strategy.
    Raises NotFound, NotEmbedded while an image waits for its vector, InvalidInput for examples that cancel out.
    """
    named, version = version, version or versions.get_active_key(session)
    examples = tuple(dict.fromkeys([*positive, *negative]))
    vectors = embeddings.find_vectors(session, version.id, examples)
    for image_id in examples:
        if image_id not in vectors:
            raise _without_vector(session, image_id, named)
    if len(examples) == 1:
        return Query(vectors[examples[0]], version, examples)
    mean = np.mean([vectors[each] for each in positive], axis=0)
    if negative:
        mean = 2 * mean - np.mean([vectors[each] for each in negative], axis=0)
    return Query(_unit(mean, "The examples cancel each other out."), version, examples)


def get_vector(session: Session, image_id: UUID) -> Vector:
    """The embedding of an image under the active version, (dim,) float32. Raises NotFound, NotEmbedded, NotReady."""
    vectors = embeddings.find_vectors(session, versions.get_active_key(session).id, [image_id])
    if image_id not in vectors:
        raise _without_vector(session, image_id)
    return vectors[image_id]


def stored_part(session: Session, image_id: UUID, box: Box) -> Picture:
    """A part of an image of the gallery, to be embedded from its stored bytes. Raises NotFound."""
    return Picture(images.get_image(session, image_id).blob_key, box)


def all_embedded(found: Sequence[Query | UmbelError | None]) -> list[Query]:
    """The queries of pictures, if all of them could be embedded; raises what is wrong with the first that could not."""
    for number, one in enumerate(found, 1):
        if isinstance(one, UmbelError):
            raise one if len(found) == 1 else type(one)(f"Picture {number} of {len(found)}: {one.detail}")
    return [one for one in found if isinstance(one, Query)]


def query_by_pictures(listener: Listener, waker: Waker, settings: Settings, pictures: Sequence[Picture]) -> list[Query]:
    """As `embed_pictures`, for those that are of no use one by one: raises what is wrong with the first that is.

    The error says which it is, where there are several.
    """
    return all_embedded(embed_pictures(listener, waker, settings, pictures, all_or_none=True))


def embed_pictures(
    listener: Listener, waker: Waker, settings: Settings, pictures: Sequence[Picture], *, all_or_none: bool = False
) -> list[Query | UmbelError | None]:
    """The vectors of pictures, or of parts of them, embedded by a worker while we wait; or what is wrong with one.

    all_or_none: where one is wrong for certain none is embedded, and the others are None.
    Workers hear of them from Postgres; should none answer soon, one is rung for.
    Raises QueueUnavailable when no worker can be rung for either, NotReady when none answers in time.
    """
    found = [_rejected(image, settings) for image in pictures]
    waiting = {uuid4(): place for place, one in enumerate(found) if one is None}
    if not waiting or (all_or_none and len(waiting) < len(found)):
        return found
    until = time.monotonic() + settings.query_seconds
    with QUERY_VECTORS.time(), ExitStack() as stack:
        answered = {each: stack.enter_context(listener.expecting(f"query {each}")) for each in waiting}
        query_images.insert_queries({each: pictures[place] for each, place in waiting.items()})
        try:
            lost = NotReady("No worker embedded the picture in time.")
            first = next(iter(answered.values()))
            if not first.wait(SOON_SECONDS) and not waker.wake(Queue.QUERY):
                lost = QueueUnavailable("No worker answers, and Redis cannot be reached to ring for one.")
                until = min(until, time.monotonic() + BROKER_TIMEOUT)
            for each, place in waiting.items():
                found[place] = _await_answer(answered[each], each, until, lost)
        except Exception:
            with suppress(NotReady):
                query_images.delete_queries(list(waiting))
            raise
    return found


def _rejected(picture: Picture, settings: Settings) -> Query | UmbelError | None:
    """What is wrong with a picture for certain; a worker finds the rest."""
    try:
        if isinstance(picture.image, bytes):
            quick_look(picture.image, settings)
    except ImageError as error:
        return error
    return None


def mean_query(queries: Sequence[Query]) -> Query:
    """One query for pictures of one thing: the mean of their unit vectors, brought to unit length.

    Raises NotReady when the model was switched between them, InvalidInput where they cancel out.
    """
    if len(queries) == 1:
        return queries[0]
    if any(query.version != queries[0].version for query in queries):
        raise NotReady("Another model has become active meanwhile; ask again.")
    mean = np.mean([query.vector for query in queries if query.vector is not None], axis=0)
    return Query(_unit(mean, "The pictures cancel each other out."), queries[0].version)


def find_matches(
    query: Query,
    *,
    k: int,
    scope: Scope,
    exact: bool = False,
    with_vectors: bool = False,
    after: Place | None = None,
    session: Session | None = None,
) -> Found:
    """Up to k images nearest to `query` in `scope`, in one round trip; without the images that the query was made of.

    after: those behind this place.
    Raises NotReady without an active model, NotFound for the collection or the image to search by, InvalidInput for a
    vector of another length.
    """
    example = query.examples[0] if query.vector is None else None
    scope = scope if example else replace(scope, without=(*scope.without, *query.examples))
    began = time.perf_counter()
    try:
        found = nearest.nearest_images(
            session,
            query.vector,
            k=k,
            scope=scope,
            version=query.version,
            example=example,
            exact=exact,
            with_vectors=with_vectors,
            after=after,
        )
    except (psycopg.Error, DBAPIError) as error:
        raise _explained(error, scope) from error
    if found.mode is None:
        assert example is not None
        with transaction() if session is None else nullcontext(session) as asked:
            raise _without_vector(asked, example, query.version)
    SEARCHES.labels(found.mode).observe(time.perf_counter() - began)
    return found


def _explained(error: psycopg.Error | DBAPIError, scope: Scope) -> Exception:
    """What `search_images` raised, in our words; any other error as it is."""
    cause = error if isinstance(error, psycopg.Error) else error.orig
    match cause:
        case psycopg.errors.ObjectNotInPrerequisiteState():
            return NotReady(NO_MODEL)
        case psycopg.errors.UndefinedObject() if scope.collection is not None:
            return NotFound(f"There is no collection called {scope.collection!r}.")
        case psycopg.errors.InvalidParameterValue():
            return InvalidInput(f"For this search {cause.diag.message_primary}.")
    return error


def _unit(vector: NDArray[np.floating], otherwise: str) -> Vector:
    with np.errstate(over="ignore", invalid="ignore"):
        norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm < SHORTEST:
        raise InvalidInput(otherwise)
    return (vector / norm).astype(np.float32)


def _without_vector(session: Session, image_id: UUID, named: VersionKey | None = None) -> UmbelError:
    """Why an image has no vector; named: of a version that was asked for. Raises NotFound without such an image."""
    image = images.get_image(session, image_id)
    if named is not None:
        return NotFound(f"Image {image_id} has no vector of the model version {named.id}.")
    if image.status == ItemState.FAILED:
        return NotFound(f"Image {image_id} could not be embedded, so it has no vector to search by.")
    return NotEmbedded(f"Image {image_id} is not embedded yet.")


def _await_answer(answered: Event, query_id: UUID, until: float, lost: NotReady) -> Query | UmbelError:
    """Raises `lost` when time is up."""
    while (left := until - time.monotonic()) > 0:
        answered.wait(min(left, LOOK_SECONDS))
        if (answer := query_images.take_answer(query_id)) is not None:
            return _query(answer)
    raise lost


def _query(answer: Answer) -> Query | UmbelError:
    if answer.error is not None:
        return refusal(*answer.error)
    assert answer.vector is not None
    assert answer.model_version_id is not None
    return Query(answer.vector, VersionKey(answer.model_version_id, len(answer.vector)))


def refusal(code: str, detail: str) -> UmbelError:
    """The error a worker wrote down, as the class it had there."""
    known: dict[str, type[UmbelError]] = {error.code: error for error in _subclasses(ImageError)}
    known |= {DecoderDied.code: DecoderDied, TransientError.code: TransientError}
    return known.get(code, ImageError)(detail)


def _subclasses(cls: type[ImageError]) -> list[type[ImageError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _subclasses(sub))]
