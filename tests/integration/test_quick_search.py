"""A search in one round trip finds what the long way finds, and steps aside where it would not."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.integration.factory import DIM, Factory, unit
from umbel.base.database import transaction
from umbel.base.errors import InvalidInput
from umbel.gallery import deletions
from umbel.models import partitions, versions
from umbel.models.versions import VersionKey
from umbel.search import nearest
from umbel.search.nearest import Found, Scope
from umbel.search.search import Answered, QuickSearch, find_matches, query_by_images, query_by_vector

pytestmark = pytest.mark.usefixtures("database")

K = 5


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> tuple[VersionKey, list[UUID]]:
    """Sixty images in two collections, thought too many to be scanned."""
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 10)
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        ids = [make.image(vector=unit(n), version=version, collection=f"c{n % 2}", label=f"l{n}") for n in range(60)]
    return VersionKey(version.id, DIM), ids


@pytest.fixture
def quick(gallery: tuple[VersionKey, list[UUID]]) -> QuickSearch:
    quick = QuickSearch()
    quick.learn(gallery[0], Found([], "hnsw"))
    return quick


@pytest.fixture
def scanning(gallery: tuple[VersionKey, list[UUID]], monkeypatch: pytest.MonkeyPatch) -> QuickSearch:
    """Of a gallery that is thought few enough to be scanned."""
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 10_000)
    scanning = QuickSearch()
    scanning.learn(gallery[0], Found([], "exact"))
    return scanning


def by_vector(quick: QuickSearch, max_distance: float | None = None, k: int = K) -> Answered | None:
    return quick.by_vector(unit(99).tolist(), k=k, max_distance=max_distance)


@pytest.mark.parametrize("max_distance", [None, 0.4])
def test_a_vector_finds_what_it_finds_the_long_way(quick: QuickSearch, max_distance: float | None) -> None:
    with transaction() as session:
        query = query_by_vector(session, unit(99).tolist())
        expected = find_matches(session, query, k=K, scope=Scope(max_distance=max_distance))
    assert expected.mode == "hnsw"
    assert by_vector(quick, max_distance) == Answered(query.version.id, expected)


def test_an_image_finds_what_it_finds_the_long_way(quick: QuickSearch, gallery: tuple[VersionKey, list[UUID]]) -> None:
    image_id = gallery[1][7]
    with transaction() as session:
        expected = find_matches(session, query_by_images(session, [image_id]), k=K, scope=Scope())
    assert quick.by_image(image_id, k=K, max_distance=None) == Answered(gallery[0].id, expected)


@pytest.mark.parametrize(("k", "max_distance"), [(K, None), (K, 0.4), (100, None)])
def test_a_vector_finds_in_a_scan_what_it_finds_the_long_way(
    scanning: QuickSearch, k: int, max_distance: float | None
) -> None:
    with transaction() as session:
        query = query_by_vector(session, unit(99).tolist())
        expected = find_matches(session, query, k=k, scope=Scope(max_distance=max_distance))
    assert expected.mode == "exact"
    assert by_vector(scanning, max_distance, k) == Answered(query.version.id, expected)


def test_an_image_finds_in_a_scan_what_it_finds_the_long_way(
    scanning: QuickSearch, gallery: tuple[VersionKey, list[UUID]]
) -> None:
    image_id = gallery[1][7]
    with transaction() as session:
        expected = find_matches(session, query_by_images(session, [image_id]), k=100, scope=Scope())
    assert len(expected.matches) == len(gallery[1]) - 1
    assert scanning.by_image(image_id, k=100, max_distance=None) == Answered(gallery[0].id, expected)


def drop_the_index(version: VersionKey) -> None:
    with transaction() as session:
        partitions.drop_index(session, version.id)


def activate_another(version: VersionKey) -> None:
    with transaction() as session:
        Factory(session, start=1000).version()


def delete_most(version: VersionKey) -> None:
    with transaction() as session:
        session.execute(text("DELETE FROM embedding WHERE ctid NOT IN (SELECT ctid FROM embedding LIMIT 4)"))


@pytest.mark.parametrize("change", [drop_the_index, activate_another, delete_most])
def test_it_steps_aside_when_the_gallery_is_no_longer_what_it_was(
    quick: QuickSearch, gallery: tuple[VersionKey, list[UUID]], change: Callable[[VersionKey], None]
) -> None:
    assert by_vector(quick) is not None
    change(gallery[0])
    assert by_vector(quick) is None


def test_a_scan_steps_aside_when_another_version_is_active(
    scanning: QuickSearch, gallery: tuple[VersionKey, list[UUID]]
) -> None:
    assert by_vector(scanning) is not None
    activate_another(gallery[0])
    assert by_vector(scanning) is None


def test_a_scan_steps_aside_when_the_gallery_has_grown(scanning: QuickSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 10)
    assert by_vector(scanning) is None


def test_many_images_are_scanned_while_there_is_no_index(
    scanning: QuickSearch, gallery: tuple[VersionKey, list[UUID]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 10)
    drop_the_index(gallery[0])
    answered = by_vector(scanning)
    assert answered is not None
    assert answered.found.mode == "exact"


def test_an_empty_gallery_is_left_to_the_long_way(scanning: QuickSearch) -> None:
    with transaction() as session:
        session.execute(text("DELETE FROM embedding"))
    assert by_vector(scanning) is None


def test_a_small_gallery_is_left_to_an_exact_scan(quick: QuickSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "EXACT_UP_TO", 10_000)
    assert by_vector(quick) is None


def test_an_image_without_a_vector_is_left_to_whoever_can_explain(quick: QuickSearch) -> None:
    assert quick.by_image(uuid4(), k=K, max_distance=None) is None


def test_a_vector_without_direction_is_refused(quick: QuickSearch) -> None:
    with pytest.raises(InvalidInput):
        quick.by_vector([0.0] * DIM, k=K, max_distance=None)


def test_pictures_of_a_deleted_collection_are_not_found(
    quick: QuickSearch, gallery: tuple[VersionKey, list[UUID]]
) -> None:
    with transaction() as session:
        deletions.hide_collection(session, "c1")
    answered = by_vector(quick)
    assert answered is not None
    assert {match.collection for match in answered.found.matches} == {"c0"}
    assert quick.by_image(gallery[1][1], k=K, max_distance=None) is None


def test_it_knows_nothing_before_it_has_learnt(gallery: tuple[VersionKey, list[UUID]]) -> None:
    quick = QuickSearch()
    assert by_vector(quick) is None
    with transaction() as session:
        key = versions.get_active_key(session)
        quick.learn(key, find_matches(session, query_by_vector(session, unit(1).tolist()), k=K, scope=Scope()))
    assert by_vector(quick) is not None
