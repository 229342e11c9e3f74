"""What a picture shows: its labelled neighbors vote; where the vote is not to be trusted the answer is: unknown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from umbel.base.database import transaction
from umbel.base.errors import Conflict, NotReady
from umbel.models import versions
from umbel.models.calibration import VoteRule, calibration_of
from umbel.search.nearest import Match, Scope
from umbel.search.search import Query, find_matches
from umbel.search.vote import Candidate, vote_together


@dataclass(frozen=True, slots=True)
class Identified:
    """ranked: labels, the most probable first; evidence counts through `neighbors`, one picture's after the other's.

    unknown: the first is not to be trusted. rule: how was voted.
    """

    ranked: list[Candidate[str]]
    unknown: bool
    neighbors: list[Match]
    rule: VoteRule
    version_id: UUID


def identify(queries: Sequence[Query], *, scope: Scope, exact: bool = False) -> Identified:
    """What 1 to 5 pictures of one subject show, by the labelled images nearest to each in `scope`.

    How the vote goes and what its probability means: umbel/search/vote.py, docs/explanation/calibration.md.
    Raises Conflict when the model version has no calibration, NotReady when the model was switched between pictures.
    """
    with transaction() as session:
        version = versions.get_active_version(session)
    calibration = calibration_of(version)
    if calibration is None:
        raise Conflict(
            f"The model {version.name!r} has no calibration, so it cannot say how likely a label is."
            " `umbel evaluate` makes one and writes it into the model's card."
        )
    labelled = replace(scope, filter=replace(scope.filter, labelled=True))
    answers = [find_matches(query, k=calibration.vote.k, scope=labelled, exact=exact) for query in queries]
    if {answer.version_id for answer in answers} != {version.id}:
        raise NotReady("Another model has become active meanwhile; ask again.")
    found = [answer.matches for answer in answers]
    verdict = vote_together(
        [([match.distance for match in some], [match.label for match in some]) for some in found], calibration
    )
    neighbors = [match for some in found for match in some]
    return Identified(verdict.ranked, verdict.unknown, neighbors, calibration.vote, version.id)
