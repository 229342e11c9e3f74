"""What a picture shows: its labelled neighbors vote; where the vote is not to be trusted the answer is: unknown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from umbel.base.database import transaction
from umbel.base.errors import NotReady
from umbel.base.tables import ModelVersion
from umbel.gallery import collections
from umbel.gallery.filters import LABELLED, both
from umbel.models import collection_calibrations, versions
from umbel.models.calibration import GENERAL, Calibration, calibration_of, domain_of
from umbel.search.nearest import Match, Scope
from umbel.search.search import Query, find_matches
from umbel.search.vote import TEMPERATURE, Candidate, K, Neighbors, tally_together, vote_together

Source = Literal["collection", "model", "none"]


@dataclass(frozen=True, slots=True)
class Basis:
    """What the scores rest on: the calibration of the collection, of the model, or none.

    note: what an answer's threshold does not tell, one or two sentences for people; None: there is nothing to add.
    """

    source: Source
    domain: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Identified:
    """ranked: labels, the most probable first; evidence counts through `neighbors`, one picture's after the other's.

    unknown: the first is not to be trusted; None: nothing tells. threshold: the least score of one that is trusted.
    """

    ranked: list[Candidate[str]]
    unknown: bool | None
    neighbors: list[Match]
    threshold: float | None
    basis: Basis
    version_id: UUID


def identify(queries: Sequence[Query], *, scope: Scope, exact: bool = False) -> Identified:
    """What 1 to 5 pictures of one subject show, by the labelled images nearest to each in `scope`, without them all.

    How the vote goes and what its probability means: umbel/search/vote.py, docs/explanation/calibration.md. The
    collection's own calibration is used where it has one for the active version, else the model's. That says "unknown"
    only of kinds that it was fitted on: where the model's domain is general or not said, or the best label is one of
    those that it was fitted on. Without a calibration that holds, scores are shares of the votes.
    Raises NotFound for the collection, NotReady when the model was switched between pictures.
    """
    with transaction() as session:
        version = versions.get_active_version(session)
        calibration, source, outdated = _calibration(session, version, scope.collection)
    asked = [image_id for query in queries for image_id in query.examples]
    labelled = replace(scope, filter=both(scope.filter, LABELLED), without=(*scope.without, *asked))
    k = calibration.vote.k if calibration else K
    answers = [find_matches(query, k=k, scope=labelled, exact=exact) for query in queries]
    if {answer.version_id for answer in answers} != {version.id}:
        raise NotReady("Another model has become active meanwhile; ask again.")
    found = [answer.matches for answer in answers]
    images = [([match.distance for match in some], [match.label for match in some]) for some in found]
    neighbors = [match for some in found for match in some]
    if calibration is not None:
        verdict = vote_together(images, calibration)
        if source == "collection" or _fitted_on(version, calibration, [one.label for one in verdict.ranked[:1]]):
            basis = Basis(source, domain_of(version), _note(version, source, outdated))
            threshold = calibration.vote.unknown_below
            return Identified(verdict.ranked, verdict.unknown, neighbors, threshold, basis, version.id)
    ranked = _by_share(images, k, calibration.vote.temperature if calibration else TEMPERATURE)
    basis = Basis("none", domain_of(version), _note(version, "none", outdated, domain=calibration is not None))
    return Identified(ranked, None if ranked else True, neighbors, None, basis, version.id)


def _calibration(
    session: Session, version: ModelVersion, collection: str | None
) -> tuple[Calibration | None, Source, bool]:
    """The calibration for a search, whose it is, and whether the collection has one of another version only."""
    own = []
    if collection is not None:
        own = collection_calibrations.list_calibrations(session, collections.get_collection(session, collection))
    for one in own:
        if one.model_version_id == version.id:
            return one.calibration, "collection", False
    model = calibration_of(version)
    return model, "model" if model else "none", bool(own)


def _fitted_on(version: ModelVersion, calibration: Calibration, best: Sequence[str]) -> bool:
    """Whether the model's calibration may be trusted for what the vote found, at most one label."""
    if domain_of(version) in (None, GENERAL) or not best:
        return True
    return _plain(best[0]) in {_plain(label) for label in calibration.fitted.labels}


def _plain(label: str) -> str:
    """Without case, numbers and punctuation: `001-pink-primrose` is `Pink primrose`."""
    return re.sub(r"[\W\d_]+", " ", label.casefold()).strip()


def _by_share(images: Sequence[Neighbors[str]], k: int, temperature: float) -> list[Candidate[str]]:
    tallies = tally_together(images, k=k, temperature=temperature)
    return [Candidate(one.label, one.share, one.evidence) for one in tallies]


def _note(version: ModelVersion, source: Source, outdated: bool, *, domain: bool = False) -> str | None:
    kind = domain_of(version)
    said = []
    if outdated:
        said.append("The collection's own calibration belongs to another model version: calibrate it again.")
    if source == "model":
        of = "the model's validation pictures" if kind is None else f"the model's domain ({kind})"
        said.append(f"The threshold was fitted on {of}, not on this collection.")
    elif source == "none":
        why = f"was fitted on {kind}, not on these labels" if domain else "is not known: it has no calibration"
        said.append(f"The model's threshold {why}. Scores are shares of the votes; nothing tells what is unknown.")
    return " ".join(said) or None
