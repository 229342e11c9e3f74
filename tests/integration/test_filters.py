"""Filters: any filter gives the rows that a plain reference gives; nothing that is written into one becomes SQL."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock
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
from tests.model.metadata import passes
from umbel.base.database import engine
from umbel.gallery import passing
from umbel.gallery.facets import By, count_facets
from umbel.gallery.filters import Filter
from umbel.models.partitions import partition_name
from umbel.search.nearest import Scope, nearest_images

IMAGES = 400
KEYS = ["year", "camera", "mixed", "tags", "gone", "a'b", '"; DROP TABLE image; --']
SCALARS: list[Any] = [0, 1, 2020, -3.5, 0.1, 1e21, True, False, None, "", "X100V", "z", "ß", "😀", "'; --", "2020"]
VALUES: list[Any] = [*SCALARS, ["red", "small"], {"lens": {"f": 2}}]
LABELS = ["rose", "roses", "tulip", "' OR true --", "ß", None]
OWN = ["rose", "a/1", "😀"]  # external ids of the first images
NAMES = ["a/1.jpg", "a/b/2.jpg", "%_.jpg", "😀", None]
BEGAN = datetime(2026, 11, 27, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    id: UUID
    label: str | None
    name: str | None
    external_id: str | None
    meta: dict[str, Any]
    created_at: datetime
    vector: np.ndarray

    def passes(self, asked: dict[str, Any]) -> bool:
        return passes(
            asked, self.label, self.meta, name=self.name, external_id=self.external_id, created_at=self.created_at
        )


Gallery = tuple[Session, Any, list[Row]]


@pytest.fixture(scope="module")
def gallery(postgres: object) -> Iterator[Gallery]:
    """Some hundred images with any metadata, in a transaction that is never committed."""
    rng = np.random.default_rng(0)
    with engine().connect() as connection, connection.begin() as outer, Session(connection) as session:
        make = Factory(session)
        version, rows = make.version(active=False), []  # only one transaction at a time can have the active one
        for number in range(IMAGES):
            label, name = LABELS[rng.integers(len(LABELS))], NAMES[rng.integers(len(NAMES))]
            keys = [key for key in KEYS if rng.random() < 0.5]
            meta = {key: VALUES[rng.integers(len(VALUES))] for key in keys}
            at = BEGAN + timedelta(hours=int(rng.integers(100)))
            image_id = make.image(vector=unit(number), version=version, label=label, meta=meta)
            own = OWN[number] if number < len(OWN) else None
            rows.append(Row(image_id, label, name, own, meta, at, unit(number)))
        session.execute(
            text("UPDATE image SET name = :name, external_id = :own, created_at = :at WHERE id = :id"),
            [{"id": row.id, "name": row.name, "own": row.external_id, "at": row.created_at} for row in rows],
        )
        yield session, version, rows
        outer.rollback()


def cosine_distance(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left.astype(np.float64), right.astype(np.float64)
    return 1 - float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


dollars = st.sampled_from(["", "$"])
bounds = st.sampled_from([value for value in SCALARS if value is not None and not isinstance(value, bool)])
RANGES = ["gt", "gte", "lt", "lte"]
operators = st.one_of(
    st.fixed_dictionaries({"eq": st.sampled_from(VALUES)}),
    st.fixed_dictionaries({"in": st.lists(st.sampled_from(VALUES), max_size=4)}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"prefix": st.sampled_from(["X", "20", "ß", "'"])}),
    st.dictionaries(st.sampled_from(RANGES), bounds, min_size=1, max_size=2),
)
values = st.builds(lambda dollar, some: {dollar + name: value for name, value in some.items()}, dollars, operators)
words = st.sampled_from([*(word for word in (*LABELS, *NAMES, *OWN) if word), "no such"])
texts = st.one_of(
    words,
    st.lists(words, max_size=3),
    st.dictionaries(st.sampled_from(["eq", *RANGES]), words, min_size=1, max_size=2),
    st.fixed_dictionaries({"in": st.lists(words, max_size=3)}),
    st.fixed_dictionaries({"prefix": st.sampled_from(["r", "rose", "a/", "%", "' OR"])}),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
times = st.sampled_from(["2026-11-27", "2026-11-28T12:00:00Z", "2026-11-29T02:00:00+23:59", "1970-01-01", "9999-12-31"])
simple = st.fixed_dictionaries(
    {},
    optional={
        "label": texts,
        "name": texts,
        "external_id": texts,
        "created_at": st.dictionaries(st.sampled_from(RANGES), times, min_size=1, max_size=2),
        "metadata": st.dictionaries(st.sampled_from(KEYS), values | st.sampled_from(VALUES), max_size=3),
    },
)
filters = st.recursive(
    simple,
    lambda inner: st.builds(
        lambda plain, combined: {**plain, **combined},
        simple,
        st.fixed_dictionaries(
            {}, optional={"any": st.lists(inner, max_size=3), "all": st.lists(inner, max_size=2), "not": inner}
        ),
    ),
    max_leaves=6,
)


@examples(250)
@given(asked=filters, limit=st.integers(1, 500), seed=st.integers(0, 50), few=st.sampled_from([0, 10, 2_000]))
def test_any_filter_gives_exactly_the_rows_of_a_plain_reference(
    gallery: Gallery, asked: dict[str, Any], limit: int, seed: int, few: int
) -> None:
    """Listed newest first, by either way, counted, and found by an exact search."""
    session, version, rows = gallery
    wanted, right = Filter.model_validate(asked), [row for row in rows if row.passes(asked)]
    with mock.patch.object(passing, "FEW", few):
        listed = passing.find_passing(session, wanted, collection=None, before=rows[-50].id, limit=limit)
    older = sorted((row.id for row in right if row.id < rows[-50].id), reverse=True)
    assert listed == older[:limit]
    assert passing.count_passing(session, wanted, collection=None) == len(right)
    query = unit(1000 + seed)
    distances = sorted((cosine_distance(row.vector, query), row.id) for row in right)
    assume(len({round(distance, 6) for distance, _ in distances}) == len(distances))  # near ties: in either order
    found = nearest_images(session, query, version=version, k=30, scope=Scope(filter=wanted))
    assert [match.image_id for match in found.matches] == [image_id for _, image_id in distances[:30]]


@examples(60)
@given(asked=filters, k=st.integers(1, 30))
def test_through_the_index_all_k_come_and_all_fit(gallery: Gallery, asked: dict[str, Any], k: int) -> None:
    session, version, rows = gallery
    fitting = {row.id for row in rows if row.passes(asked)}
    with session.begin_nested() as point:
        scan_up_to(session, 25)
        scope = Scope(filter=Filter.model_validate(asked))
        found = nearest_images(session, unit(7), version=version, k=k, scope=scope)
        point.rollback()
    ids = [match.image_id for match in found.matches]
    assert (len(ids), len(set(ids))) == (min(k, len(fitting)), len(ids))
    assert set(ids) <= fitting
    assert [match.distance for match in found.matches] == sorted(match.distance for match in found.matches)


BYS = ["label", "collection", "created_at.day", "created_at.month", *(f"metadata.{key}" for key in KEYS)]


@examples(80)
@given(asked=filters, by=st.sampled_from(BYS), limit=st.integers(1, 30))
def test_each_facet_is_the_number_of_images_that_pass_its_filter(
    gallery: Gallery, asked: dict[str, Any], by: str, limit: int
) -> None:
    session, _, rows = gallery
    right = [row for row in rows if row.passes(asked)]
    facets = count_facets(session, By.parse(by), Filter.model_validate(asked), collection=None, limit=limit)
    assert facets.images == len(right)
    have = [scalars_of(row, by) for row in right]
    assert facets.missing == sum(not some for some in have)
    counts = Counter(value for some in have for value in some)
    assert {shown(each.value): each.count for each in facets.values}.items() <= counts.items()
    assert (len(facets.values), facets.further) == (min(limit, len(counts)), max(0, len(counts) - limit))
    if not by.startswith("created_at"):
        assert sorted(counts.values(), reverse=True)[:limit] == [each.count for each in facets.values]
    for each in facets.values:
        if each.filter is not None:
            assert each.count == sum(row.passes(each.filter) for row in right)
            Filter.model_validate(each.filter)


def shown(value: Any) -> str:
    """As JSON; a number in one way, however it is written."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def scalars_of(row: Row, by: str) -> set[str]:
    """The values that an image counts for, as JSON."""
    at = row.created_at.isoformat()
    plain: dict[str, Any] = {"label": row.label, "collection": "default", "created_at.day": at[:10]}
    value = row.meta.get(by.removeprefix("metadata.")) if by.startswith("metadata.") else plain.get(by, at[:7])
    if isinstance(value, list):
        return {shown(one) for one in value if not isinstance(one, list | dict)}
    missing = isinstance(value, dict) or (value is None and by.removeprefix("metadata.") not in row.meta)
    return set() if missing else {shown(value)}


@pytest.mark.parametrize(
    "asked",
    [
        {"label": ["rose"]},
        {"label": {"exists": True}},
        {"metadata": {"year": {"exists": True}}},
        {"any": [{"label": "rose"}]},
    ],
)
def test_a_filter_that_many_pass_goes_through_the_index(gallery: Gallery, asked: dict[str, Any]) -> None:
    session, version, _ = gallery
    with session.begin_nested() as point:
        scan_up_to(session, 100)  # 20 behind a filter
        found = nearest_images(session, unit(7), version=version, k=3, scope=Scope(filter=Filter.model_validate(asked)))
        point.rollback()
    assert (found.mode, found.exhausted, len(found.matches)) == ("hnsw", False, 3)


@pytest.mark.parametrize("year", [1e9, 2019])
def test_an_exact_search_reads_the_vectors_of_those_that_pass_alone(gallery: Gallery, year: float) -> None:
    session, version, rows = gallery
    asked = {"metadata": {"year": {"$gt": year}}}
    fitting = sum(row.passes(asked) for row in rows)
    vectors = text("""
        SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = to_regclass(:name)
    """).bindparams(name=partition_name(version.id))
    before = session.scalar(vectors)
    scope = Scope(filter=Filter.model_validate(asked))
    found = nearest_images(session, unit(7), version=version, k=IMAGES, scope=scope, exact=True)
    assert (len(found.matches), session.scalar(vectors) - before) == (fitting, fitting)


# Beside those among the keys, values and labels above, which are there and must be found.
HOSTILE = ["' OR 1=1 --", '") OR TRUE', ":k", "%(k)s", "%s", "{where}", "$1", "\\", "%", "_"]


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_text_matches_nothing_and_does_nothing(gallery: Gallery, said: str) -> None:
    session, version, _ = gallery
    asked: list[dict[str, Any]] = [
        {"label": [said]},
        {"label": {"prefix": said + said}},
        {"name": {"gt": said, "lt": said}},
        {"metadata": {said: {"$exists": True}}},
        {"metadata": {said: {"$lte": "z"}}},
        {"metadata": {said: 1}},
        {"metadata": {"year": said}},
        {"metadata": {"camera": {"$in": [said]}}},
        {"metadata": {"mixed": {"$eq": {said: said}}}},
    ]
    for one in map(Filter.model_validate, asked):
        assert nearest_images(session, unit(1), version=version, k=3, scope=Scope(filter=one)).matches == []
        assert passing.count_passing(session, one, collection=None) == 0
    assert session.execute(text("SELECT count(*) FROM image")).scalar_one() == IMAGES
