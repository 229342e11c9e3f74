"""How much of what an exact search finds the index finds, how fast, and what ef_search it would take."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import TypeVar

from umbel.base.database import Transaction
from umbel.base.errors import Conflict
from umbel.base.tables import RecallReport
from umbel.base.types import Vector
from umbel.embedding import embeddings
from umbel.models import versions
from umbel.models.versions import VersionKey
from umbel.search import recall_rows
from umbel.search.nearest import Match, Scope, ef_for, indexed_images, nearest_images

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
    transaction: Transaction, *, k: int, sample: int, seconds: float, version: VersionKey | None = None
) -> RecallReport:
    """Search with stored vectors through the index and exactly, compare, and keep the result.

    sample: so many vectors, drawn at random, each without its own image; fewer when `seconds` are over before.
    version: the active one, if unset.
    Raises NotReady without an active model, Conflict for a gallery of one and while there is no index.
    """
    with transaction() as session:
        version = version or versions.get_active_key(session)
        vectors = embeddings.find_vectors(session, version.id, recall_rows.sample_images(session, version.id, sample))
    until = time.monotonic() + seconds
    samples: list[Sample] = []
    for image_id, vector in vectors.items():
        if not samples or time.monotonic() < until:
            samples += _measured(transaction, vector, version, k, Scope(without=[image_id]))
    if not samples:
        raise Conflict("There are not enough embeddings to measure the index with.")
    return _kept(transaction, version, k, samples)


def _measured(transaction: Transaction, vector: Vector, version: VersionKey, k: int, scope: Scope) -> list[Sample]:
    """The search, if there was anything to find."""

    def exactly() -> list[Match]:
        with transaction() as session:
            return nearest_images(session, vector, version=version, k=k, scope=scope, exact=True).matches

    def through_index(ef: int) -> list[Match]:
        with transaction() as session:
            found = indexed_images(session, vector, version=version, k=k, scope=scope, ef_search=ef)
        if found is None:
            raise Conflict("There is no index to measure now: it is built after the load that goes on.")
        return found

    exact, exact_ms = _timed(exactly)
    if not exact:
        return []
    found = {ef: _timed(lambda ef=ef: through_index(ef)) for ef in _ladder(k)}  # type: ignore[misc]
    recalls = {ef: share_found(matches, exact) for ef, (matches, _) in found.items()}
    return [Sample(exact_ms, recalls, {ef: ms for ef, (_, ms) in found.items()})]


def share_found(found: list[Match], exact: list[Match]) -> float:
    """The share of the nearest, in [0, 1], that was found; one as near as the last of them is as good."""
    return sum(match.distance <= exact[-1].distance + SAME for match in found) / len(exact)


def _kept(transaction: Transaction, version: VersionKey, k: int, samples: list[Sample]) -> RecallReport:
    steps = {
        ef: Step(
            ef, round(fmean(one.recalls[ef] for one in samples), 4), round(median(one.ms[ef] for one in samples), 3)
        )
        for ef in _ladder(k)
    }
    now = steps[ef_for(k)]
    with transaction() as session:
        return recall_rows.insert_report(
            session,
            model_version_id=version.id,
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


def _ladder(k: int) -> list[int]:
    return sorted({ef_for(k), *LADDER})


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    done = work()
    return done, 1000 * (time.perf_counter() - began)
