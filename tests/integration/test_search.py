"""Search gives the rows that a plain computation gives, and says how it found them."""

from itertools import product
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.factory import DIM, Factory, fill, unit
from tests.integration.threshold import scan_up_to
from umbel.base.errors import InvalidInput, NotEmbedded, NotFound, NotReady
from umbel.base.tables import ModelVersion
from umbel.gallery.filters import LABELLED, Filter, of_label
from umbel.models.partitions import drop_index, index_name, partition_name
from umbel.search import nearest
from umbel.search.nearest import Scope, nearest_images
from umbel.search.recall import share_found
from umbel.search.search import find_matches, query_by_image, query_by_images, query_by_vector


def distances(found: nearest.Found) -> list[float]:
    return [match.distance for match in found.matches]


def test_matches_are_those_of_numpy_in_the_same_order(session: Session, make: Factory) -> None:
    version = make.version()
    vectors = [unit(seed) for seed in range(1, 60)]
    ids = [make.image(vector=vector, version=version) for vector in vectors]
    expected = 1 - np.stack(vectors) @ unit(0)
    found = nearest_images(session, unit(0), version=version, k=7, scope=Scope())
    assert [match.image_id for match in found.matches] == [ids[row] for row in np.argsort(expected)[:7]]
    assert distances(found) == pytest.approx(np.sort(expected)[:7], abs=2e-3)


def test_the_index_is_used_for_large_sets_and_agrees_with_the_scan(session: Session, make: Factory) -> None:
    version = make.version()
    for seed in range(1, 200):
        make.image(vector=unit(seed), version=version)
    scan_up_to(session, 10)
    indexed = nearest_images(session, unit(0), version=version, k=5, scope=Scope())
    exact = nearest_images(session, unit(0), version=version, k=5, scope=Scope(), exact=True)
    assert (indexed.mode, exact.mode) == ("hnsw", "exact")
    assert [m.image_id for m in indexed.matches] == [m.image_id for m in exact.matches]


def index_scans(session: Session, version: ModelVersion) -> int:
    index = f"{partition_name(version.id)}_hnsw"
    return int(session.execute(text(f"SELECT pg_stat_get_xact_numscans('{index}'::regclass)")).scalar_one())


@pytest.mark.parametrize(("exact", "scans"), [(False, 1), (True, 0)])
def test_the_mode_says_what_was_done(session: Session, make: Factory, exact: bool, scans: int) -> None:
    version = make.version()
    for seed in range(1, 50):
        make.image(vector=unit(seed), version=version, collection="garden")
    scan_up_to(session, 2)
    before = index_scans(session, version)
    scope = Scope(collection="garden")
    nearest_images(session, unit(0), version=version, k=5, scope=scope, exact=exact)
    assert index_scans(session, version) - before == scans


def test_ties_are_broken_by_image_id(session: Session, make: Factory) -> None:
    version = make.version()
    ids = [make.image(vector=unit(1), version=version) for _ in range(6)]
    found = nearest_images(session, unit(1), version=version, k=4, scope=Scope())
    assert [match.image_id for match in found.matches] == sorted(ids)[:4]


def test_search_never_mixes_model_versions(session: Session, make: Factory) -> None:
    old, new = make.version(active=False), make.version()
    make.image(vector=unit(1), version=old)
    assert nearest_images(session, unit(1), version=new, k=5, scope=Scope()).matches == []


def test_versions_of_different_width_live_side_by_side(session: Session, make: Factory) -> None:
    narrow, wide = make.version(active=False, dim=4), make.version(dim=16)
    make.image(vector=unit(1, 4), version=narrow)
    image = make.image(vector=unit(1, 16), version=wide)
    found = nearest_images(session, unit(1, 16), version=wide, k=5, scope=Scope())
    assert [match.image_id for match in found.matches] == [image]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(filter=of_label("rose")), {"a", "b"}),
        (Scope(filter=Filter.model_validate({"label": ["rose", "tulip"]})), {"a", "b", "c"}),
        (Scope(filter=Filter.model_validate({"label": []})), set()),
        (Scope(filter=LABELLED), {"a", "b", "c"}),
        (Scope(max_distance=0.0), set()),
    ],
)
def test_filters(session: Session, make: Factory, scope: Scope, expected: set[str]) -> None:
    version = make.version()
    names = {
        make.image(vector=unit(1), version=version, label="rose", meta={"red": True}): "a",
        make.image(vector=unit(2), version=version, label="rose", meta={"red": False}): "b",
        make.image(vector=unit(3), version=version, label="tulip", meta={"red": True}): "c",
        make.image(vector=unit(4), version=version): "d",
    }
    found = nearest_images(session, unit(0), version=version, k=10, scope=scope)
    assert {names[match.image_id] for match in found.matches} == expected


def test_a_selective_filter_still_returns_k_matches(session: Session, make: Factory) -> None:
    version = make.version()
    for seed in range(1, 120):
        make.image(vector=unit(seed), version=version, label="rare" if seed % 20 == 0 else "common")
    scan_up_to(session, 2)
    found = nearest_images(session, unit(0), version=version, k=5, scope=Scope(filter=of_label("rare")))
    assert len(found.matches) == 5


def test_one_collection_is_searched_alone(session: Session, make: Factory) -> None:
    version = make.version()
    make.image(vector=unit(1), version=version, collection="other")
    image = make.image(vector=unit(2), version=version, collection="garden")
    found = nearest_images(session, unit(1), version=version, k=5, scope=Scope(collection="garden"))
    assert [match.image_id for match in found.matches] == [image]


def test_an_image_does_not_match_itself_when_left_out(session: Session, make: Factory) -> None:
    version = make.version()
    image = make.image(vector=unit(1), version=version)
    found = nearest_images(session, unit(1), version=version, k=5, scope=Scope(without=[image]))
    assert found.matches == []


def test_a_callers_vector_is_brought_to_unit_length(session: Session, make: Factory) -> None:
    make.version()
    query = query_by_vector(list(unit(1) * 40))
    assert query.vector is not None
    assert np.linalg.norm(query.vector) == pytest.approx(1)


@pytest.mark.parametrize("vector", [[0.0] * DIM, [1.0] * (DIM + 1), [], [float("inf")] * DIM, [1e308] * DIM])
def test_a_vector_that_is_none_is_refused(session: Session, make: Factory, vector: list[float]) -> None:
    make.version()
    with pytest.raises(InvalidInput):
        find_matches(query_by_vector(vector), k=1, scope=Scope(), session=session)


def test_without_a_model_there_is_no_search(session: Session) -> None:
    with pytest.raises(NotReady, match="No model"):
        find_matches(query_by_vector([1.0]), k=1, scope=Scope(), session=session)


def test_an_image_that_waits_to_be_embedded_is_not_ready(session: Session, make: Factory) -> None:
    make.version()
    job = make.job()
    make.item(job)
    image = session.execute(text("SELECT image_id FROM job_item")).scalar_one()
    with pytest.raises(NotEmbedded, match="not embedded yet"):
        query_by_images(session, [image])


def test_an_unknown_image_is_not_found(session: Session, make: Factory) -> None:
    version = make.version()
    with pytest.raises(NotFound):
        query_by_images(session, [version.id])


def test_one_example_is_the_query_itself(session: Session, make: Factory) -> None:
    version = make.version()
    image = make.image(vector=unit(1), version=version)
    query = query_by_images(session, [image])
    assert query.vector == pytest.approx(unit(1))
    assert query.examples == (image,)


def test_examples_are_averaged_and_negatives_turned_away_from(session: Session, make: Factory) -> None:
    version = make.version()
    a, b, c = (make.image(vector=unit(seed), version=version) for seed in (1, 2, 3))
    expected = (unit(1) + unit(2)) - unit(3)
    query = query_by_images(session, [a, b], [c])
    assert query.vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-3)


def test_examples_are_not_among_the_matches(session: Session, make: Factory) -> None:
    version = make.version()
    a, b, c, d = (make.image(vector=unit(seed), version=version) for seed in (1, 2, 3, 4))
    found = find_matches(query_by_images(session, [a, b], [c]), k=5, scope=Scope(), session=session)
    assert [match.image_id for match in found.matches] == [d]


def test_examples_that_cancel_each_other_out_are_refused(session: Session, make: Factory) -> None:
    version = make.version()
    there, back = (make.image(vector=vector, version=version) for vector in (unit(1), -unit(1)))
    with pytest.raises(InvalidInput, match="cancel"):
        query_by_images(session, [there, back])


def test_a_filter_that_lets_few_through_is_said_to_have_exhausted_the_index(session: Session, make: Factory) -> None:
    scan_up_to(session, 10)
    version = make.version()
    for seed in range(200):
        make.image(vector=unit(seed), version=version, meta={"year": 1900 + seed})
    early = Filter.model_validate({"metadata": {"year": {"$lt": 1903}}})
    found = nearest_images(session, unit(0), version=version, k=5, scope=Scope(filter=early))
    assert (found.mode, found.exhausted, len(found.matches)) == ("exact", True, 3)


def test_what_an_image_is_searched_by_is_its_own_vector(session: Session, make: Factory) -> None:
    version = make.version()
    a, b, c = (make.image(vector=unit(seed), version=version) for seed in (1, 2, 3))
    found = find_matches(query_by_image(a), k=5, scope=Scope(), session=session)
    assert {match.image_id for match in found.matches} == {b, c}
    assert found == find_matches(query_by_images(session, [a]), k=5, scope=Scope(), session=session)


def test_an_image_that_waits_cannot_be_searched_by(session: Session, make: Factory) -> None:
    make.version()
    make.item(make.job())
    image = session.execute(text("SELECT image_id FROM job_item")).scalar_one()
    with pytest.raises(NotEmbedded, match="not embedded yet"):
        find_matches(query_by_image(image), k=1, scope=Scope(), session=session)
    with pytest.raises(NotFound):
        find_matches(query_by_image(uuid4()), k=1, scope=Scope(), session=session)


def test_a_collection_that_is_not_there_is_not_found(session: Session, make: Factory) -> None:
    make.version()
    with pytest.raises(NotFound, match="'no such'"):
        find_matches(query_by_vector(unit(1).tolist()), k=1, scope=Scope(collection="no such"), session=session)


def fill_and_index(session: Session, make: Factory, version: ModelVersion, **images: int) -> None:
    """So many images in each collection, and the index afterwards: that is quicker."""
    index = session.scalar(text("SELECT indexdef FROM pg_indexes WHERE indexname = :n"), {"n": index_name(version.id)})
    drop_index(session, version.id)
    for name, count in images.items():
        fill(session, version, make.collection(name), count)
    session.execute(text(index or ""))


def test_recall_within_a_collection_of_one_percent(session: Session, make: Factory) -> None:
    """Its images lie anywhere among 8,000 others: the index is followed until ten of them have passed."""
    version = make.version()
    fill_and_index(session, make, version, many=8_000, few=80)
    scan_up_to(session, 40)
    recalls = []
    for seed in range(100):
        query, scope = unit(seed), Scope(collection="few")
        found = nearest_images(session, query, version=version, k=10, scope=scope)
        exact = nearest_images(session, query, version=version, k=10, scope=scope, exact=True)
        if found.mode == "hnsw":  # else the index gave up, and the answer is exact
            recalls.append(share_found(found.matches, exact.matches))
    assert len(recalls) >= 80
    assert np.mean(recalls) >= 0.95


# Each image's place when ordered by chance, and by how far it lies from the first axis, the farthest first.
PLACES = """
UPDATE image SET metadata = jsonb_build_object('chance', chance, 'far', far) FROM (
    SELECT image_id, row_number() OVER (ORDER BY random()) AS chance, row_number() OVER (ORDER BY
        vector <=> CAST(:axis AS halfvec) DESC) AS far FROM embedding WHERE model_version_id = :version) place
WHERE id = image_id
"""


def test_recall_and_k_rows_behind_filters(session: Session, make: Factory) -> None:
    """However few pass, and where they lie on the far side of what is searched for, where the index hardly comes."""
    images, k = 2_000, 10
    version, axis = make.version(), np.eye(DIM)[0]
    fill_and_index(session, make, version, garden=images)
    session.execute(text(PLACES), {"axis": str(axis.tolist()), "version": version.id})
    scan_up_to(session, 100)  # behind a filter 20
    for key, share in product(("chance", "far"), (0.001, 0.01, 0.1, 0.5)):
        scope = Scope(filter=Filter.model_validate({"any": [{"metadata": {key: {"lte": share * images}}}]}))
        recalls = []
        for seed in range(15):
            query = 3 * axis + unit(seed)
            query = (query / np.linalg.norm(query)).astype(np.float32)
            found = nearest_images(session, query, version=version, k=k, scope=scope)
            exact = nearest_images(session, query, version=version, k=k, scope=scope, exact=True)
            assert len(found.matches) == len(exact.matches) == min(k, share * images)
            recalls.append(share_found(found.matches, exact.matches))
        assert np.mean(recalls) >= 0.95, (key, share)
