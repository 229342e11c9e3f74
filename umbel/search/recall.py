"""How much of what an exact search finds the index finds, how fast, and what ef_search it would take."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from umbel.base.database import Transaction
from umbel.base.errors import Conflict
from umbel.base.tables import RecallReport
from umbel.base.types import Vector
from umbel.embedding import embeddings
from umbel.gallery import collections
from umbel.models import versions
from umbel.models.partitions import has_collection_index, partition_name
from umbel.models.versions import VersionKey
from umbel.search.nearest import Match, Scope, ef_search_for, nearest_images

T = TypeVar("T")

LADDER = (40, 80, 120, 200, 320, 500, 1000)  # what is measured beside the ef_search in use
SAME = 1e-6  # of two distances, computed in single precision


@dataclass(frozen=True, slots=True)
class Step:
    """recall: share of the k nearest that the index found, in [0, 1]; ms: milliseconds, median of a search."""

    ef_search: int
    recall: float
    ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One search. recalls, ms: by ef_search."""

    exact_ms: float
    recalls: dict[int, float]
    ms: dict[int, float]


def measure_recall(
    transaction: Transaction,
    *,
    k: int,
    sample: int,
    seconds: float,
    version: VersionKey | None = None,
    collection: str | None = None,
) -> RecallReport:
    """Search with stored vectors through the index and exactly, compare, and keep the result.

    sample: so many vectors, drawn at random, each without its own image; fewer when `seconds` are over before.
    version: the active one, if unset. collection: searches within it, by its own images; None: the whole gallery.
    Raises NotReady without an active model, NotFound for the collection, Conflict for a gallery of one and while there
    is no index.
    """
    with transaction() as session:
        version = version or versions.get_active_key(session)
        within = collections.id_of(session, collection)
        vectors = embeddings.find_vectors(session, version.id, sample_images(session, version.id, sample, within))
        own = within is not None and has_collection_index(session, version.id, within)
        used = ef_search_for(session, version, k, restricted=within is not None and not own)
    until = time.monotonic() + seconds
    samples: list[Sample] = []
    for image_id, vector in vectors.items():
        if not samples or time.monotonic() < until:
            with transaction() as session:
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})  # one snapshot
                scope = Scope(collection=collection, without=[image_id])
                samples += _measured(session, vector, version, k=k, scope=scope, used=used)
    if not samples:
        raise Conflict("There are not enough embeddings to measure the index with.")
    return _kept(transaction, version, samples, k=k, collection=collection, used=used)


def _measured(
    session: Session, vector: Vector, version: VersionKey, *, k: int, scope: Scope, used: int
) -> list[Sample]:
    """The search by one vector, if there was anything to find. session: of one snapshot for all it is asked. used: the
    ef_search in use."""

    def search(only_ef: int | None) -> list[Match]:
        found = nearest_images(
            session, vector, version=version, k=k, scope=scope, exact=only_ef is None, only_ef=only_ef
        )
        if only_ef is not None and found.mode != "hnsw":
            raise Conflict("There is no index to measure now: it is built after the load that goes on.")
        return found.matches

    exact, exact_ms = _timed(lambda: search(None))
    if not exact:
        return []
    found = {ef: _timed(lambda ef=ef: search(ef)) for ef in sorted({used, *LADDER})}  # type: ignore[misc]
    recalls = {ef: share_found(matches, exact) for ef, (matches, _) in found.items()}
    return [Sample(exact_ms, recalls, {ef: ms for ef, (_, ms) in found.items()})]


def share_found(found: list[Match], exact: list[Match]) -> float:
    """The share of the nearest that was found, never above 1; one as near as the last of them is as good."""
    return sum(one.distance <= exact[-1].distance + SAME for one, _ in zip(found, exact, strict=False)) / len(exact)


def _kept(
    transaction: Transaction, version: VersionKey, samples: list[Sample], *, k: int, collection: str | None, used: int
) -> RecallReport:
    steps = {
        ef: Step(
            ef, round(fmean(one.recalls[ef] for one in samples), 4), round(median(one.ms[ef] for one in samples), 3)
        )
        for ef in samples[0].recalls
    }
    now = steps[used]
    with transaction() as session:
        return insert_report(
            session,
            model_version_id=version.id,
            collection=collection,
            k=k,
            sample=len(samples),
            ef_search=now.ef_search,
            recall=now.recall,
            index_ms=now.ms,
            exact_ms=round(median(one.exact_ms for one in samples), 3),
            ef_for_95=next((ef for ef, step in steps.items() if step.recall >= 0.95), None),
            ef_for_99=next((ef for ef, step in steps.items() if step.recall >= 0.99), None),
            steps=[asdict(step) for step in steps.values()],
        )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    done = work()
    return done, 1000 * (time.perf_counter() - began)


def sample_images(session: Session, version_id: UUID, count: int, collection_id: UUID | None = None) -> list[UUID]:
    """Up to `count` embedded images, of one collection or of all, any as likely as any other."""
    within = "" if collection_id is None else "WHERE collection_id = :within"
    statement = text(f"SELECT image_id FROM {partition_name(version_id)} {within} ORDER BY random() LIMIT :n")
    return list(session.scalars(statement, {"n": count, "within": collection_id}))


def insert_report(session: Session, **values: Any) -> RecallReport:
    """Keep a measurement."""
    return session.execute(insert(RecallReport).values(values).returning(RecallReport)).scalar_one()


def list_reports(session: Session, *, before: UUID | None, limit: int) -> Sequence[RecallReport]:
    """Newest first (ids are UUIDv7)."""
    statement = select(RecallReport).order_by(RecallReport.id.desc()).limit(limit)
    return session.scalars(statement if before is None else statement.where(RecallReport.id < before)).all()


def count_embeddings(session: Session, version_id: UUID) -> int:
    """How many images a version has embeddings of."""
    return session.execute(text(f"SELECT count(*) FROM {partition_name(version_id)}")).scalar_one()
