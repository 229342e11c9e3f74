"""Pages of a search, one answer a group, answers that differ, several pictures, many searches at once; over HTTP."""

import io
import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import parse
from sqlalchemy import text
from umbel_client import InvalidRequest, SearchOptions, Umbel

from api import rates
from tests.command_line import umbel_here
from tests.images import image_bytes
from tests.integration.answering import BROKEN, answering
from tests.integration.factory import Factory, committed, unit
from tests.integration.test_search_api import assert_problem
from tests.integration.threshold import scanned_up_to
from umbel.base.database import transaction
from umbel.models import versions
from umbel.search.nearest import Scope, nearest_images

pytestmark = pytest.mark.usefixtures("database", "redis")

QUERY = unit(0)
numbers = count()


def search(api: FlaskClient, **asked: Any) -> dict[str, Any]:
    answer = api.post("/v1/search", json=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def ids(answer: dict[str, Any]) -> list[str]:
    return [match["image_id"] for match in answer["matches"]]


def all_pages(api: FlaskClient, **asked: Any) -> list[list[dict[str, Any]]]:
    pages, cursor = [], {}
    while not pages or cursor:
        page = search(api, **asked, **cursor)
        pages.append(page["matches"])
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
    return pages


@pytest.fixture
def garden() -> list[UUID]:
    """Thirty images in `garden`, three of each label, years in turn, and one in `meadow`."""

    def gallery(make: Factory) -> list[UUID]:
        version = make.version()
        make.image(vector=QUERY, version=version, collection="meadow", label="label 0", meta={"year": 2020})
        return [
            make.image(
                vector=unit(n + 1),
                version=version,
                collection="garden",
                label=f"label {n % 10}" if n else None,
                meta={"year": 2020 + n % 4} if n % 5 else {"year": [2020]},
            )
            for n in range(30)
        ]

    return committed(gallery)  # type: ignore[no-any-return]


def ordered(images: list[UUID] | None = None, **scope: Any) -> list[str]:
    """All images of `garden`, or some, nearest to QUERY first."""
    found = nearest_images(None, QUERY, k=1000, scope=Scope("garden", among=images, **scope), exact=True)
    return [str(match.image_id) for match in found.matches]


@pytest.mark.parametrize("through", ["scan", "index"])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_all_pages_have_each_image_that_stays_once_and_in_order(api: FlaskClient, through: str, data: Any) -> None:
    """While others come and go between the pages, and many lie at the same distance."""
    name, vectors = f"garden-{next(numbers)}", st.integers(0, 6).map(unit)

    def add(make: Factory, how_many: int) -> list[UUID]:
        with transaction() as session:
            version = versions.find_active_version(session) or make.version()
        return [make.image(vector=data.draw(vectors), version=version, collection=name) for _ in range(how_many)]

    def new(how_many: int) -> list[UUID]:
        with transaction() as session:
            return add(Factory(session, start=1000 * next(numbers)), how_many)

    there = new(data.draw(st.integers(1, 30)))
    stay, shown, cursor = set(there), [], {}
    with scanned_up_to(3) if through == "index" else nullcontext():
        while not shown or cursor:
            asked = {"collection": name, "vector": QUERY.tolist(), "k": data.draw(st.integers(1, 9))}
            page = search(api, **asked, **cursor)
            shown += page["matches"]
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            if cursor:
                there += new(data.draw(st.integers(0, 3)))
                gone = data.draw(st.lists(st.sampled_from(there), max_size=2))
                with transaction() as session:
                    session.execute(text("DELETE FROM image WHERE id = ANY (:gone)"), {"gone": gone})
                stay -= set(gone)
                there = [one for one in there if one not in gone]
    places = [(match["distance"], match["image_id"]) for match in shown]
    assert places == sorted(places)
    assert max(Counter(ids({"matches": shown})).values()) == 1
    assert {str(one) for one in stay} <= set(ids({"matches": shown}))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"exact": True},
        {"filter": {"label": ["label 1", "label 2", "label 3"]}},
        {"filter": {"metadata": {"year": {"gte": 2021}}}},
        {"max_distance": 0.9},
        {"with": ["vector"]},
    ],
)
def test_pages_are_the_parts_of_one_answer(api: FlaskClient, garden: list[UUID], asked: dict[str, Any]) -> None:
    asked = {"vector": QUERY.tolist(), "collection": "garden", **asked}
    whole = search(api, **asked, k=30)
    pages = all_pages(api, **asked, k=4)
    assert [match for page in pages for match in page] == whole["matches"]
    assert {len(page) for page in pages[:-1]} == {4}
    assert whole["next_cursor"] is None


def test_pages_of_an_image_and_of_examples(api: FlaskClient, garden: list[UUID]) -> None:
    one, other = map(str, garden[:2])
    for asked, without in (
        ({"image_id": one}, {one}),
        ({"positive": [one, other]}, {one, other}),
        ({"positive": [one], "negative": [other]}, {one, other}),
    ):
        found = [match["image_id"] for page in all_pages(api, **asked, k=7, collection="garden") for match in page]
        assert (len(found), set(found)) == (30 - len(without), {str(each) for each in garden} - without)
    first = api.get(f"/v1/images/{one}/similar?k=5").get_json()
    second = api.get(f"/v1/images/{one}/similar", query_string={"k": 5, "cursor": first["next_cursor"]}).get_json()
    assert ids(first) + ids(second) == ids(search(api, image_id=one, k=10))


def test_the_next_page_of_a_picture_needs_neither_it_nor_a_worker(api: FlaskClient, garden: list[UUID]) -> None:
    with answering(QUERY):
        form = {"file": (io.BytesIO(image_bytes(1)), "a"), "collection": "garden", "k": 10, "max_distance": 1.5}
        first = api.post("/v1/search", data=form, content_type="multipart/form-data").get_json()
    asked = {"collection": "garden", "k": 10, "max_distance": 1.5, "cursor": first["next_cursor"]}
    second = search(api, **asked)
    by_form = api.post("/v1/search", data=asked, content_type="multipart/form-data").get_json()
    assert ids(first) + ids(second) == ordered(max_distance=1.5)[:20]
    assert ids(by_form) == ids(second)
    again = api.post("/v1/search", json={**asked, "image": b64encode(image_bytes(1)).decode()})
    assert_problem(again, 422, "cursor_mismatch")


@pytest.mark.parametrize(
    "changed",
    [
        {"collection": "meadow"},
        {"collection": None},
        {"filter": {"label": ["label 1"]}},
        {"max_distance": 1},
        {"exact": True},
        {"collapse": "duplicates"},
        {"group_by": "label"},
        {"vector": unit(3).tolist()},
        {"vector": None},
        {"vector": None, "image_id": "an image"},
        {"vector": None, "positive": ["an image"]},
    ],
)
def test_a_cursor_is_of_one_search(api: FlaskClient, garden: list[UUID], changed: dict[str, Any]) -> None:
    asked = {"vector": QUERY.tolist(), "collection": "garden", "k": 3}
    cursor = search(api, **asked)["next_cursor"]
    other = json.loads(json.dumps({**asked, **changed}).replace("an image", str(garden[0])))
    assert_problem(api.post("/v1/search", json={**other, "cursor": cursor}), 422, "cursor_mismatch")
    assert_problem(api.get(f"/v1/images/{garden[0]}/similar?k=3&cursor={cursor}"), 422, "cursor_mismatch")


@pytest.mark.parametrize("how", ["x", "", "é", "A" * 72, "A" * 71, "A" * 8001, "cut", "beyond", "not a number"])
def test_what_is_no_cursor_is_refused(api: FlaskClient, garden: list[UUID], how: str) -> None:
    cursor = search(api, vector=QUERY.tolist(), k=1)["next_cursor"]
    data = bytearray(urlsafe_b64decode(cursor + "=="))
    if how == "beyond":
        data[25:29] = (10_000).to_bytes(4)
    elif how == "not a number":
        data[1:9] = b"\x7f\xf8" + bytes(6)
    bad = {"cut": cursor[:-8], "beyond": urlsafe_b64encode(data).decode().rstrip("=")}
    bad["not a number"] = bad["beyond"]
    answer = api.post("/v1/search", json={"vector": QUERY.tolist(), "cursor": bad.get(how, how)})
    assert_problem(answer, 422, "invalid_input")
    assert "cursor" in answer.get_json()["errors"]["body"]


def test_pages_keep_to_their_model_and_end_with_it(api: FlaskClient, garden: list[UUID]) -> None:
    asked = {"vector": QUERY.tolist(), "k": 20}
    first = search(api, **asked)
    committed(lambda make: Factory(make.session, start=10).version())
    second = search(api, **asked, cursor=first["next_cursor"])
    assert (second["model_version"], len(second["matches"])) == (first["model_version"], 11)
    with transaction() as session:
        retired = text("UPDATE model_version SET state = 'retired' WHERE id = :id")
        session.execute(retired, {"id": first["model_version"]})
    answer = api.post("/v1/search", json={**asked, "cursor": first["next_cursor"]})
    assert_problem(answer, 409, "cursor_expired")


def test_pages_end_after_ten_thousand(api: FlaskClient, garden: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.insights.selection.MOST_RESULTS", 10)
    pages = all_pages(api, vector=QUERY.tolist(), collection="garden", k=4)
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [match["image_id"] for page in pages for match in page] == ordered()[:10]


@pytest.fixture
def copies(garden: list[UUID]) -> list[list[UUID]]:
    """Groups of duplicates in `garden` as a comparison stores them."""
    groups = [garden[0:5], garden[5:7], [garden[7], garden[20], garden[29]]]
    with transaction() as session:
        values = {"version": versions.get_active_key(session).id}
        grouping = session.execute(
            text("""
                INSERT INTO duplicate_grouping (model_version_id, collection_id, max_distance, min_pixel_similarity)
                SELECT :version, id, 0.5, 0.8 FROM collection WHERE name = 'garden' RETURNING id
            """),
            values,
        ).scalar_one()
        for some in groups:
            session.execute(
                text("INSERT INTO duplicate_group (grouping_id, id, images) VALUES (:grouping, :id, :images)"),
                {"grouping": grouping, "id": max(some), "images": some},
            )
    return groups


@pytest.mark.parametrize("asked", [{}, {"filter": {"metadata": {"year": {"exists": True}}}, "max_distance": 1.2}])
@pytest.mark.parametrize("through", ["scan", "index"])
def test_of_duplicates_the_nearest_alone_is_an_answer(
    api: FlaskClient, copies: list[list[UUID]], asked: dict[str, Any], through: str
) -> None:
    group_of = {str(one): number for number, some in enumerate(copies) for one in some}
    plain = ordered(max_distance=asked.get("max_distance"))
    sizes = Counter(group_of.get(one, one) for one in plain)
    expected = []
    for one in plain:
        key = group_of.get(one, one)
        if key not in [known for known, _ in expected]:
            expected.append((key, (one, sizes[key])))
    with scanned_up_to(3) if through == "index" else nullcontext():
        pages = all_pages(api, vector=QUERY.tolist(), collection="garden", collapse="duplicates", k=4, **asked)
    found = [(match["image_id"], match["group_size"]) for page in pages for match in page]
    assert found == [one for _, one in expected]
    assert {len(page) for page in pages[:-1]} == {4}


@pytest.mark.parametrize(("by", "key"), [("label", None), ("metadata.year", "year")])
def test_of_a_group_the_nearest_alone_is_an_answer(
    api: FlaskClient, garden: list[UUID], by: str, key: str | None
) -> None:
    expected: dict[Any, list[str]] = {}
    for match in search(api, vector=QUERY.tolist(), collection="garden", k=30)["matches"]:
        value = match["metadata"].get(key) if key else match["label"]
        if value is not None and not isinstance(value, list):
            expected.setdefault(value, []).append(match["image_id"])
    asked = {"vector": QUERY.tolist(), "collection": "garden", "group_by": by, "with": ["vector"]}
    pages = all_pages(api, **asked, k=3)
    found = [(one["group_value"], one["image_id"], one["group_size"]) for page in pages for one in page]
    assert found == [(value, some[0], len(some)) for value, some in expected.items()]
    assert all(len(match["vector"]) == len(QUERY) for page in pages for match in page)
    near = [match["distance"] for page in pages for match in page]
    limited = search(api, **asked, max_distance=near[1], filter={"metadata": {"year": {"exists": True}}})
    assert [match["distance"] for match in limited["matches"]] == near[:2]
    by_image = search(api, **{**asked, "vector": None, "image_id": found[0][1]}, k=30)
    assert found[0][1] not in ids(by_image)


def naive_mmr(vectors: dict[str, Any], k: int, diversity: float) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < min(k, len(vectors)):

        def score(one: str) -> float:
            alike = max((float(vectors[one] @ vectors[other]) for other in chosen), default=0.0)
            return (1 - diversity * bool(chosen)) * float(vectors[one] @ QUERY) - diversity * alike

        chosen.append(max((one for one in vectors if one not in chosen), key=score))
    return chosen


@pytest.mark.parametrize("diversity", [0.3, 1.0])
@pytest.mark.parametrize("grouped", [{}, {"group_by": "label"}, {"collapse": "duplicates"}])
def test_answers_differ_as_asked(
    api: FlaskClient, copies: list[list[UUID]], diversity: float, grouped: dict[str, str]
) -> None:
    asked = {"vector": QUERY.tolist(), "collection": "garden", **grouped}
    candidates = search(api, **asked, k=100, **{"with": ["vector"]})["matches"]
    vectors = {match["image_id"]: np.array(match["vector"]) for match in candidates}
    found = search(api, **asked, k=6, diversity=diversity)
    assert ids(found) == naive_mmr(vectors, 6, diversity)
    assert found["next_cursor"] is None
    assert ids(search(api, **asked, k=6, diversity=0)) == [match["image_id"] for match in candidates[:6]]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"diversity": 0.5, "cursor": "of the page before"}, "diversity and cursor do not combine"),
        ({"collapse": "duplicates", "group_by": "label"}, "collapse and group_by do not combine"),
        ({"group_by": "size"}, "must be label or metadata.KEY"),
        ({"group_by": "created_at.day"}, "must be label or metadata.KEY"),
        ({"group_by": "metadata.\0"}, "NUL"),
        ({"diversity": 1.1}, "diversity"),
        ({"collapse": "copies"}, "collapse"),
    ],
)
def test_what_does_not_combine_is_said(api: FlaskClient, garden: list[UUID], asked: dict[str, Any], said: str) -> None:
    if "cursor" in asked:
        asked = {**asked, "cursor": search(api, vector=QUERY.tolist(), k=1)["next_cursor"]}
    answer = api.post("/v1/search", json={"vector": QUERY.tolist(), **asked})
    assert_problem(answer, 422, "invalid_input")
    assert said in answer.text


def test_a_vector_of_another_width_finds_no_groups(api: FlaskClient, garden: list[UUID]) -> None:
    assert_problem(api.post("/v1/search", json={"vector": [1.0], "group_by": "label"}), 422, "invalid_input")


def test_several_pictures_are_searched_by_their_mean(api: FlaskClient, garden: list[UUID]) -> None:
    mean = (unit(1) + unit(2)) / np.linalg.norm(unit(1) + unit(2))
    files = [(io.BytesIO(image_bytes(n)), f"{n}") for n in (1, 2)]
    encoded = [b64encode(image_bytes(n)).decode() for n in (1, 2)]
    with answering(unit(1), unit(2)):
        sent = api.post("/v1/search", data={"file": files, "k": 5}, content_type="multipart/form-data").get_json()
        as_json = search(api, images=encoded, k=5)
    assert ids(sent) == ids(as_json) == ids(search(api, vector=mean.tolist(), k=5))
    assert_problem(api.post("/v1/search", json={"images": encoded[:1] * 17}), 422, "invalid_input")
    assert_problem(api.post("/v1/search", json={"images": []}), 422, "invalid_input")
    with answering(unit(1), -unit(1)):
        assert_problem(api.post("/v1/search", json={"images": encoded}), 422, "invalid_input")


@pytest.mark.parametrize("broken", [b"no picture", image_bytes(3, kind="WEBP") + BROKEN])
def test_of_several_pictures_the_one_that_is_wrong_is_named(
    api: FlaskClient, garden: list[UUID], broken: bytes
) -> None:
    images = [b64encode(data).decode() for data in (image_bytes(1), broken, image_bytes(2))]
    with answering():
        answer = api.post("/v1/search", json={"images": images})
    assert answer.status_code == 415
    assert answer.get_json()["detail"].startswith("Picture 2 of 3: ")


def test_a_batch_has_each_answer_in_its_place(api: FlaskClient, garden: list[UUID]) -> None:
    good, bad = b64encode(image_bytes(1)).decode(), b64encode(b"no picture").decode()
    queries: list[Any] = [
        {"vector": QUERY.tolist(), "k": 2},
        {"k": 0},
        {"image": good, "k": 1},
        {"image_id": "019b2f6e-0000-7000-8000-000000000000"},
        {"images": [good, bad]},
        {"image_id": str(garden[3]), "collection": "nowhere"},
        "no object",
        {"images": [good, good, good], "k": 1},
        {"vector": QUERY.tolist(), "cursor": search(api, vector=QUERY.tolist(), k=2)["next_cursor"], "k": 2},
    ]
    with answering(QUERY) as batches:
        answer = api.post("/v1/search:batch", json={"queries": queries})
    assert answer.status_code == 200, answer.text
    answers = answer.get_json()["answers"]
    codes = [one.get("code") for one in answers]
    assert codes == [
        None, "invalid_input", None, "not_found", "unsupported_image", "not_found", "invalid_input", None, None,
    ]  # fmt: skip
    assert list(answers[1]["errors"]["body"]) == ["k"]
    assert answers[4]["detail"].startswith("Picture 2 of 2: ")
    alone = search(api, vector=QUERY.tolist(), k=4)
    assert ids(answers[0]) + ids(answers[8]) == ids(alone)
    assert ids(answers[2]) == ids(answers[7]) == ids(alone)[:1]
    assert max(batches) == 5  # all at once


@pytest.mark.parametrize("queries", [[], [{}] * 101, {}, None])
def test_what_is_no_batch_is_refused(api: FlaskClient, queries: Any) -> None:
    assert_problem(api.post("/v1/search:batch", json={"queries": queries}), 422, "invalid_input")


def test_without_a_model_a_batch_fails_as_a_whole(api: FlaskClient) -> None:
    answer = api.post("/v1/search:batch", json={"queries": [{"vector": [1.0]}, {"k": 0}]})
    assert_problem(answer, 503, "not_ready")
    assert "Retry-After" in answer.headers


@pytest.fixture
def limited(app: Flask) -> Iterator[None]:
    """Ten calls a minute."""
    app.config["RATE_LIMIT"] = parse("10/minute")
    rates.limiter.cache_clear()
    rates.limiter().forget()
    yield
    app.config["RATE_LIMIT"] = None


@pytest.mark.usefixtures("limited")
def test_a_batch_counts_as_its_queries(api: FlaskClient) -> None:
    committed(lambda make: make.version())
    statuses = [
        api.post("/v1/search:batch", json={"queries": [{"vector": QUERY.tolist()}] * size}).status_code
        for size in (6, 4, 1, 11)
    ]
    assert statuses == [200, 200, 429, 429]


@pytest.mark.usefixtures("limited")
def test_a_batch_larger_than_the_limit_is_told_so(api: FlaskClient) -> None:
    answer = api.post("/v1/search:batch", json={"queries": [{}] * 11})
    assert_problem(answer, 422, "invalid_input")
    assert "10 per 1 minute" in answer.get_json()["detail"]


@pytest.fixture
def client(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Umbel:
    """A client of the application itself, which the command uses, too."""
    client = Umbel("http://localhost", retries=0)
    client.connection.http = httpx.Client(base_url="http://localhost", transport=httpx.WSGITransport(app))
    monkeypatch.setattr("cli.search.api_client", lambda: nullcontext(client))
    return client


def test_the_client_goes_through_all_pages(client: Umbel, garden: list[UUID]) -> None:
    asked: SearchOptions = {"vector": QUERY.tolist(), "collection": "garden", "with_vectors": True}
    found = [str(match.image_id) for match in client.search_all(**asked, page_size=7)]
    assert found == ordered()
    assert [str(match.image_id) for match in client.search_all(**asked, page_size=7, limit=10)] == found[:10]
    with answering(QUERY):
        pictures = client.search_pages([image_bytes(1), image_bytes(2)], collection="garden", page_size=20)
        assert [len(page.matches) for page in pictures] == [20, 10]
    with pytest.raises(InvalidRequest, match="another search"):
        client.search(**{**asked, "cursor": client.search(**asked, k=1).next_cursor, "exact": True})


def test_the_client_has_errors_of_a_batch_in_their_place(client: Umbel, garden: list[UUID]) -> None:
    with answering(QUERY):
        found = client.search_batch(
            [{"image": image_bytes(1), "k": 2}, {"image_id": garden[0], "collection": "nowhere"}, {"k": 3}]
        )
    assert [type(one).__name__ for one in found] == ["SearchResult", "NotFound", "InvalidRequest"]


def test_the_command_puts_pages_together(client: Umbel, garden: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.search.LARGEST_PAGE", 7)
    whole = umbel_here("similar", str(garden[0]), "--limit", "20", "--collection", "garden", "--json")
    found = json.loads(whole.stdout)
    assert (len(found["matches"]), found["search"]["requested"], found["search"]["returned"]) == (20, 20, 20)
    assert found["matches"] == sorted(found["matches"], key=lambda one: one["distance"])
    grouped = umbel_here("similar", str(garden[0]), "--group-by", "metadata.year", "--collection", "garden")
    assert "4 of 7 asked for" in grouped.stdout
    for wrong in (["--diversity", "2"], ["--diversity", "0.5", "--limit", "8"], ["--limit", "10001"]):
        assert umbel_here("similar", str(garden[0]), *wrong).returncode == 2
    assert umbel_here("similar", str(garden[0]), str(garden[1])).returncode == 2
    both = umbel_here("similar", str(garden[0]), "--collapse", "--group-by", "label")
    assert (both.returncode, "do not combine" in both.stderr) == (1, True)
