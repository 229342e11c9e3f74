"""What a search answers with: all the nearest, one of each group of duplicates or label, or some that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from umbel.base.database import transaction
from umbel.base.metrics import SEARCHES
from umbel.base.types import Vector
from umbel.embedding import embeddings
from umbel.gallery.facets import By
from umbel.insights.duplicate_groups import StoredGroup, list_groups_with
from umbel.models import versions
from umbel.search.diversity import diversify
from umbel.search.grouping import find_groups
from umbel.search.nearest import Found, Match, Place, Scope
from umbel.search.search import Query, find_matches, query_by_images

MOST_RESULTS = 10_000  # on all pages of a search
# Of the nearest, those among which some that differ are chosen: so many for each, within these bounds.
CANDIDATES, FEWEST_CANDIDATES, MOST_CANDIDATES = 5, 100, 1_000


@dataclass(frozen=True, slots=True)
class Selection:
    """collapse: one image of each group of near-duplicates; group_by: or of each label or value of a metadata key.

    diversity: 0 to 1, how far the images are to differ from each other; 0: the nearest.
    """

    collapse: bool = False
    group_by: By | None = None
    diversity: float = 0.0


PLAIN = Selection()


@dataclass(frozen=True, slots=True)
class Page:
    """next: where the next page begins; None: there are no more, or none that follow."""

    found: Found
    next: Place | None


def find_page(
    query: Query,
    *,
    k: int,
    scope: Scope,
    selection: Selection = PLAIN,
    exact: bool = False,
    with_vectors: bool = False,
    after: Place | None = None,
) -> Page:
    """Up to k matches behind `after`, in the order by distance and id, or such as differ: in the order of their choice.

    An image that is there all the time is on one page and no other, whatever comes and goes between two pages, as far
    as the searches are exact. A group comes again if its nearest image is removed between two pages.
    Raises as `find_matches` does.
    """
    if selection.diversity:
        return Page(_diverse(query, selection, k=k, scope=scope, exact=exact, with_vectors=with_vectors), None)
    passed = after.passed if after else 0
    k = min(k, MOST_RESULTS - passed)
    found = _found(query, selection, k=k + 1, scope=scope, exact=exact, with_vectors=with_vectors, after=after)
    shown = found.matches[:k]
    # The images of a group of duplicates are passed together.
    passed += sum(match.group_size or 1 for match in shown) if selection.collapse else len(shown)
    more = len(found.matches) > k and passed < MOST_RESULTS
    return Page(replace(found, matches=shown), Place(*shown[-1].order, passed) if more else None)


def _found(
    query: Query,
    selection: Selection,
    *,
    k: int,
    scope: Scope,
    exact: bool,
    with_vectors: bool = False,
    after: Place | None = None,
) -> Found:
    if selection.group_by is not None:
        found = _grouped(query, selection.group_by, k=k, scope=scope, after=after)
    elif selection.collapse:
        found = _collapsed(query, k=k, scope=scope, exact=exact, after=after)
    else:
        return find_matches(query, k=k, scope=scope, exact=exact, with_vectors=with_vectors, after=after)
    return _with_vectors(found, _vectors_of(found)) if with_vectors else found


def _diverse(query: Query, selection: Selection, *, k: int, scope: Scope, exact: bool, with_vectors: bool) -> Found:
    candidates = max(k, min(max(CANDIDATES * k, FEWEST_CANDIDATES), MOST_CANDIDATES))
    found = _found(query, selection, k=candidates, scope=scope, exact=exact)
    vectors = _vectors_of(found)
    found = replace(found, matches=diversify(found.matches, vectors, k=k, diversity=selection.diversity))
    return _with_vectors(found, vectors) if with_vectors else found


def _vectors_of(found: Found) -> dict[UUID, Vector]:
    with transaction() as session:
        return embeddings.find_vectors(session, found.version_id, [match.image_id for match in found.matches])


def _with_vectors(found: Found, vectors: Mapping[UUID, Vector]) -> Found:
    there = [match for match in found.matches if match.image_id in vectors]  # others were removed just now
    return replace(found, matches=[replace(match, vector=vectors[match.image_id].tolist()) for match in there])


def _grouped(query: Query, by: By, *, k: int, scope: Scope, after: Place | None) -> Found:
    scope = replace(scope, without=(*scope.without, *query.examples))
    with SEARCHES.labels("exact").time(), transaction() as session:
        if query.vector is None:
            query = query_by_images(session, query.examples, version=query.version)
        version = query.version or versions.get_active_key(session)
        assert query.vector is not None
        return find_groups(session, query.vector, version, by, k=k, scope=scope, after=after)


def _collapsed(query: Query, *, k: int, scope: Scope, exact: bool, after: Place | None) -> Found:
    """One image of each group of near-duplicates, as groups were last computed: the nearest, of those in scope.

    An image that has not been compared, or has no duplicate, stands for itself. The order is gone through until k are
    found; a group whose nearest lies before `after` was on an earlier page.
    """
    with transaction() as session:
        query = replace(query, version=query.version or versions.get_active_key(session))
    chosen: list[Match] = []
    known: set[UUID] = set()  # groups
    place, step = after, k
    while True:
        found = find_matches(query, k=min(step, MOST_RESULTS), scope=scope, exact=exact, after=place)
        alone, groups = _apart(found)
        new = [group for group in groups if group.id not in known]
        known.update(group.id for group in new)
        nearest = _nearest_of(query, new, scope)
        chosen += alone + [one for one in nearest if after is None or one.order > (after.distance, after.image_id)]
        if len(chosen) >= k or len(found.matches) < step:
            break
        place, step = (
            Place(*found.matches[-1].order, (place.passed if place else 0) + step),
            min(2 * step, MOST_RESULTS),
        )
    return replace(found, matches=sorted(chosen, key=lambda one: one.order)[:k])


def _apart(found: Found) -> tuple[list[Match], list[StoredGroup]]:
    """The matches that are in no group, and the groups of the others."""
    if not found.matches:
        return [], []
    with transaction() as session:
        groups = list_groups_with(session, found.version_id, [match.image_id for match in found.matches])
    grouped = {image_id for group in groups for image_id in group.images}
    return [replace(one, group_size=1) for one in found.matches if one.image_id not in grouped], groups


def _nearest_of(query: Query, groups: Sequence[StoredGroup], scope: Scope) -> list[Match]:
    """The nearest image of each group in scope, with how many are."""
    if not groups:
        return []
    group_of = {image_id: group.id for group in groups for image_id in group.images}
    members = find_matches(query, k=MOST_RESULTS, scope=replace(scope, among=list(group_of)), exact=True).matches
    of_group: dict[UUID, list[Match]] = {}
    for one in members:
        of_group.setdefault(group_of[one.image_id], []).append(one)
    return [replace(some[0], group_size=len(some)) for some in of_group.values()]
