"""Filters: any filter gives the rows that a plain reference gives; nothing that is written into one becomes SQL."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.examples import examples
from tests.integration.factory import Factory, unit
from tests.integration.threshold import scan_up_to
from umbel.base.database import engine
from umbel.models.partitions import partition_name
from umbel.search.filters import Filter, Operator, conditions_of
from umbel.search.nearest import Scope, nearest_images

IMAGES = 400
KEYS = ["year", "camera", "mixed", "tags", "gone", "a'b", '"; DROP TABLE image; --']
SCALARS: list[Any] = [0, 1, 2020, -3.5, 0.1, 1e21, True, False, None, "", "X100V", "z", "ß", "😀", "'; --", "2020"]
VALUES: list[Any] = [*SCALARS, ["red", "small"], {"lens": {"f": 2}}]
LABELS = ["rose", "tulip", "' OR true --", None]

Row = tuple[UUID, str | None, dict[str, Any], np.ndarray]


@pytest.fixture(scope="module")
def gallery(postgres: object) -> Iterator[tuple[Session, Any, list[Row]]]:
    """Some hundred images with any metadata, in a transaction that is never committed."""
    rng = np.random.default_rng(0)
    with engine().connect() as connection, connection.begin() as outer, Session(connection) as session:
        make = Factory(session)
        version, rows = make.version(active=False), []  # only one transaction at a time can have the active one
        for number in range(IMAGES):
            label = LABELS[rng.integers(len(LABELS))]
            keys = [key for key in KEYS if rng.random() < 0.5]
            meta = {key: VALUES[rng.integers(len(VALUES))] for key in keys}
            image_id = make.image(vector=unit(number), version=version, label=label, meta=meta)
            rows.append((image_id, label, meta, unit(number)))
        session.flush()
        yield session, version, rows
        outer.rollback()


def cosine_distance(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left.astype(np.float64), right.astype(np.float64)
    return 1 - float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def same(left: Any, right: Any) -> bool:
    """As JSON: true is no number."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def contains(value: Any, asked: Any) -> bool:
    if isinstance(asked, dict):
        return isinstance(value, dict) and all(key in value and contains(value[key], asked[key]) for key in asked)
    if isinstance(asked, list):
        return isinstance(value, list) and all(any(contains(each, one) for each in value) for one in asked)
    return same(value, asked)


def holds(meta: dict[str, Any], key: str, operator: Operator, asked: Any) -> bool:
    if operator == Operator.EXISTS:
        return (key in meta) == asked
    if key not in meta:
        return False
    value = meta[key]
    if operator == Operator.EQ:
        return contains(value, asked)
    if operator == Operator.IN:
        return any(contains(value, one) for one in asked)
    kinds = (str,) if isinstance(asked, str) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return bool({"$gt": value > asked, "$gte": value >= asked, "$lt": value < asked, "$lte": value <= asked}[operator])


bounds = st.sampled_from([value for value in SCALARS if value is not None and not isinstance(value, bool)])
operators = st.one_of(
    st.fixed_dictionaries({"$eq": st.sampled_from(VALUES)}),
    st.fixed_dictionaries({"$in": st.lists(st.sampled_from(VALUES), max_size=4)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), bounds, min_size=1, max_size=2),
    st.sampled_from(VALUES),
)
metadata = st.dictionaries(st.sampled_from(KEYS), operators, max_size=3)
labels = st.none() | st.lists(st.sampled_from([*LABELS[:3], "no such"]), max_size=3)


@examples(150)
@given(asked=metadata, among=labels, k=st.integers(1, 30), seed=st.integers(0, 50))
def test_any_filter_gives_exactly_the_rows_of_a_plain_reference(
    gallery: tuple[Session, Any, list[Row]], asked: dict[str, Any], among: list[str] | None, k: int, seed: int
) -> None:
    session, version, rows = gallery
    conditions = conditions_of(asked)
    query = unit(1000 + seed)
    right = [
        (cosine_distance(vector, query), image_id)
        for image_id, label, meta, vector in rows
        if (among is None or label in among)
        and all(holds(meta, each.key, each.operator, each.value) for each in conditions)
    ]
    assume(len({round(distance, 6) for distance, _ in right}) == len(right))  # near ties may come in either order
    scope = Scope(filter=Filter(labels=among, metadata=conditions))
    found = nearest_images(session, query, version=version, k=k, scope=scope)
    assert [match.image_id for match in found.matches] == [image_id for _, image_id in sorted(right)[:k]]


@examples(60)
@given(asked=metadata, among=labels, k=st.integers(1, 30))
def test_through_the_index_all_k_come_and_all_fit(
    gallery: tuple[Session, Any, list[Row]], asked: dict[str, Any], among: list[str] | None, k: int
) -> None:
    session, version, rows = gallery
    conditions = conditions_of(asked)
    fitting = {
        image_id
        for image_id, label, meta, _ in rows
        if (among is None or label in among)
        and all(holds(meta, each.key, each.operator, each.value) for each in conditions)
    }
    with session.begin_nested() as point:
        scan_up_to(session, 25)
        scope = Scope(filter=Filter(labels=among, metadata=conditions))
        found = nearest_images(session, unit(7), version=version, k=k, scope=scope)
        point.rollback()
    ids = [match.image_id for match in found.matches]
    assert (len(ids), len(set(ids))) == (min(k, len(fitting)), len(ids))
    assert set(ids) <= fitting
    assert [match.distance for match in found.matches] == sorted(match.distance for match in found.matches)


@pytest.mark.parametrize(
    "asked",
    [Filter(labels=["rose"]), Filter(labelled=True), Filter(metadata=conditions_of({"year": {"$exists": True}}))],
)
def test_a_filter_that_many_pass_goes_through_the_index(gallery: tuple[Session, Any, list[Row]], asked: Filter) -> None:
    session, version, _ = gallery
    with session.begin_nested() as point:
        scan_up_to(session, 100)  # 20 behind a filter
        found = nearest_images(session, unit(7), version=version, k=3, scope=Scope(filter=asked))
        point.rollback()
    assert (found.mode, found.exhausted, len(found.matches)) == ("hnsw", False, 3)


@pytest.mark.parametrize("year", [1e9, 2019])
def test_an_exact_search_reads_the_vectors_of_those_that_pass_alone(
    gallery: tuple[Session, Any, list[Row]], year: float
) -> None:
    session, version, rows = gallery
    passing = sum(holds(meta, "year", Operator.GT, year) for _, _, meta, _ in rows)
    vectors = text("""
        SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = to_regclass(:name)
    """).bindparams(name=partition_name(version.id))
    before = session.scalar(vectors)
    scope = Scope(filter=Filter(metadata=conditions_of({"year": {"$gt": year}})))
    found = nearest_images(session, unit(7), version=version, k=IMAGES, scope=scope, exact=True)
    assert (len(found.matches), session.scalar(vectors) - before) == (passing, passing)


# Beside those among the keys, values and labels above, which are there and must be found.
HOSTILE = ["' OR 1=1 --", '") OR TRUE', ":k", "%(k)s", "%s", "{where}", "$1", "\\", "%", "_"]


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_text_matches_nothing_and_does_nothing(gallery: tuple[Session, Any, list[Row]], said: str) -> None:
    session, version, _ = gallery
    asked = {said: 1, "year": said, "camera": {"$in": [said]}, "mixed": {"$eq": {said: said}}}
    filters = [
        Filter(labels=[said]),
        Filter(metadata=conditions_of({said: {"$exists": True}})),
        Filter(metadata=conditions_of({said: {"$lte": "z"}})),
        *(Filter(metadata=conditions_of({key: value})) for key, value in asked.items()),
    ]
    found = [nearest_images(session, unit(1), version=version, k=3, scope=Scope(filter=each)) for each in filters]
    assert [each.matches for each in found] == [[]] * len(filters)
    assert session.execute(text("SELECT count(*) FROM image")).scalar_one() == IMAGES


@pytest.mark.parametrize(
    "asked",
    [{"$near": 1}, {"$in": "a"}, {"$in": list(range(101))}, {"$exists": 1}, {"$gt": True}, {"$gt": None}, {"$lt": []}],
)
def test_an_operator_that_makes_no_sense_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of year"):
        conditions_of({"year": asked})


def test_an_object_without_operators_is_a_value() -> None:
    [condition] = conditions_of({"lens": {"f": 2, "name": "$eq"}})
    assert (condition.operator, condition.value) == (Operator.EQ, {"f": 2, "name": "$eq"})
