"""Near-duplicates and label issues over HTTP, compared by a line with real decoders."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, text

from api.rooms import Room
from tests.integration.callers import UNUSED_ID
from tests.integration.scene import (
    add,
    axis,
    begin,
    brighter,
    compare,
    comparison_line,
    near,
    photograph,
    smaller,
    version,
)
from umbel.base.blobs import blobs
from umbel.base.database import engine, transaction
from umbel.gallery import collections
from umbel.gallery.images import remove_image
from umbel.insights import duplicate_groups
from umbel.insights.comparison import ComparisonHandler
from umbel.jobs import jobs

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module")
def line(postgres: object) -> Iterator[ComparisonHandler]:
    with comparison_line() as ours:
        yield ours


def groups(api: FlaskClient, **query: object) -> list[set[UUID]]:
    answer = api.get("/v1/duplicates", query_string=query)
    assert answer.status_code == 200, answer.text
    return [{UUID(one["image_id"]) for one in group["images"]} for group in answer.get_json()["items"]]


def test_a_comparison_is_accepted_with_a_job_to_follow(api: FlaskClient) -> None:
    add(version(), axis(0), photograph(0))
    answer = api.post("/v1/duplicates", json={"collection": "default"})
    body = answer.get_json()
    assert (answer.status_code, body["status"], body["images"]) == (202, "queued", 1)
    assert answer.headers["Location"] == f"/v1/jobs/{body['job_id']}"
    job = api.get(answer.headers["Location"]).get_json()
    assert (job["type"], job["phase"], job["counts"]["pending"]) == ("comparison", "comparing", 1)


def test_a_second_one_conflicts_and_names_the_first(api: FlaskClient) -> None:
    add(version(), axis(0), photograph(0))
    first = api.post("/v1/duplicates", json={}).get_json()
    second = api.post("/v1/duplicates", json={})
    assert (second.status_code, first["job_id"] in second.get_json()["detail"]) == (409, True)


def test_nothing_to_compare_is_said(api: FlaskClient, line: ComparisonHandler) -> None:
    add(version(), axis(0), photograph(0))
    compare(line)
    answer = api.post("/v1/duplicates", json={})
    assert (answer.status_code, answer.get_json()) == (200, {"job_id": None, "status": "up_to_date", "images": 0})


@pytest.mark.parametrize("path", ["/v1/duplicates", "/v1/label-issues"])
def test_without_a_model_nothing_is_ready(api: FlaskClient, path: str) -> None:
    assert api.get(path).status_code == 503


@pytest.mark.parametrize("path", ["/v1/duplicates", "/v1/label-issues"])
def test_an_unknown_collection(api: FlaskClient, path: str) -> None:
    version()
    assert api.get(path, query_string={"collection": "nowhere"}).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "max_distance=0.6",
        "max_distance=nan",
        "min_pixel_similarity=2",
        "limit=0",
        "cursor=x",
        "collection='%20OR%201=1",
        "x=1",
    ],
)
def test_bad_queries_for_duplicates(api: FlaskClient, query: str) -> None:
    version()
    assert api.get(f"/v1/duplicates?{query}").status_code == 422


@pytest.mark.parametrize(
    "cursor", ["x", "0.5", f"_{UNUSED_ID}", f"2_{UNUSED_ID}", f"nan_{UNUSED_ID}", f"0.5_{UNUSED_ID}'--", "0.5_1 OR 1=1"]
)
def test_bad_cursors_for_label_issues(api: FlaskClient, cursor: str) -> None:
    version()
    assert api.get("/v1/label-issues", query_string={"cursor": cursor}).status_code == 422


def test_changed_copies_are_a_group_and_look_alikes_are_not(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    copies = {add(of, near(axis(0), 0.02, n), each) for n, each in enumerate((data, brighter(data), smaller(data)))}
    add(of, near(axis(0), 0.001, 9), photograph(2))  # nearer by embedding, another picture
    compare(line)
    assert groups(api) == [copies]


def test_the_distance_alone_can_decide(api: FlaskClient, line: ComparisonHandler) -> None:
    of = version()
    pair = {add(of, near(axis(0), 0.02, n), photograph(n)) for n in range(2)}
    compare(line)
    assert (groups(api), groups(api, min_pixel_similarity=0, max_distance=0.1)) == ([], [pair])
    assert groups(api, min_pixel_similarity=0, max_distance=0.001) == []


def test_the_one_to_keep_comes_first_with_what_is_known_of_it(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    small, whole = add(of, near(axis(0), 0.01, 1), smaller(data)), add(of, axis(0), data, label="rose")
    compare(line)
    (group,) = api.get("/v1/duplicates").get_json()["items"]
    first, second = group["images"]
    assert (group["keep"], group["size"], group["collection"]) == (str(whole), 2, "default")
    assert (first["image_id"], first["label"], first["width"], first["size"]) == (str(whole), "rose", 360, len(data))
    assert (second["image_id"], first["distance_to_keep"]) == (str(small), 0)
    assert second["distance_to_keep"] == pytest.approx(0.01, abs=1e-3)
    assert group["largest_distance"] == second["distance_to_keep"]
    assert min(one["sharpness"] for one in group["images"]) > 0
    assert first["links"]["self"] == f"/v1/images/{whole}"


def test_a_copy_that_comes_later_joins_its_group(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    first = {add(of, axis(0), data)}
    compare(line)
    copy = add(of, near(axis(0), 0.02, 1), brighter(data))
    waiting = api.get("/v1/duplicates").get_json()
    assert (waiting["items"], waiting["compared"], waiting["waiting"]) == ([], 1, 1)
    compare(line)
    assert groups(api) == [first | {copy}]


def test_groups_stay_inside_a_collection(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    for number, name in enumerate(("a", "b")):
        add(of, near(axis(0), 0.01, number), brighter(data, 1 + number / 10), collection=name)
    pair = {
        add(of, near(axis(0), 0.01, 5 + number), brighter(data, 0.9, 80 + number), collection="c") for number in (0, 1)
    }
    compare(line)
    assert (groups(api), groups(api, collection="a"), groups(api, collection="c")) == ([pair], [], [pair])


def test_groups_are_of_the_active_model(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    for number in range(2):
        add(of, near(axis(0), 0.01, number), brighter(data, 1 + number / 10))
    compare(line)
    version()
    answer = api.get("/v1/duplicates").get_json()
    assert (answer["items"], answer["compared"]) == ([], 0)


def test_a_removed_picture_leaves_its_groups(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    made = [add(of, near(axis(0), 0.01, number), brighter(data, 1 + number / 10)) for number in range(3)]
    compare(line)
    remove_image(transaction, blobs(), made[1])
    three = groups(api)
    remove_image(transaction, blobs(), made[0])
    assert (three, groups(api)) == ([{made[0], made[2]}], [])


def test_what_links_the_others_may_be_removed_until_all_is_compared_again(
    api: FlaskClient, line: ComparisonHandler
) -> None:
    """The others stay a group, as it was found: to look for what links them now is the next comparison's."""
    of, data = version(), photograph(1)
    vectors = (near(axis(0), 0.01, 1), axis(0), near(axis(0), 0.01, 2))
    made = [add(of, vector, brighter(data, 1 + number / 10)) for number, vector in enumerate(vectors)]
    compare(line)
    with transaction() as session:  # only the middle one is near enough to each
        session.execute(
            text(
                "UPDATE nearest_neighbors SET neighbors = '{}', distances = '{}', pixel_similarities = '{}'"
                " WHERE image_id <> :middle"
            ),
            {"middle": made[1]},
        )
        duplicate_groups.note_changes(session, of.id, [home()])
    linked = groups(api)
    remove_image(transaction, blobs(), made[1])
    assert (linked, groups(api)) == ([set(made)], [{made[0], made[2]}])
    with transaction() as session:
        duplicate_groups.note_changes(session, of.id, [home()])
    assert groups(api) == []


def home() -> UUID:
    with transaction() as session:
        return collections.get_collection(session, "default")


def test_groups_are_computed_once_and_by_the_comparison(
    api: FlaskClient, line: ComparisonHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = version()
    expected = pairs(of, 3)
    compare(line)
    computed: list[object] = []
    monkeypatch.setattr(duplicate_groups, "connected_components", computed.append)
    assert [*groups(api, limit=2), *groups(api, limit=1, cursor=min(map(max, expected[:2])))] == expected
    assert groups(api, image_id=max(expected[1])) == [expected[1]]
    assert computed == []


def test_other_limits_are_computed_once_and_few_of_them_are_kept(api: FlaskClient, line: ComparisonHandler) -> None:
    of = version()
    pair = {add(of, near(axis(0), 0.02, n), photograph(n)) for n in range(2)}
    compare(line)
    for number in range(9):
        assert groups(api, min_pixel_similarity=0, max_distance=0.1 + number / 100) == [pair]
    with transaction() as session:
        known = session.execute(text("SELECT max_distance FROM duplicate_grouping ORDER BY id")).scalars().all()
    assert known == [0.5, *(pytest.approx(0.1 + number / 100) for number in range(5, 9))]


def test_few_requests_at_a_time_compute_groups_by_limits_of_their_own(
    api: FlaskClient, line: ComparisonHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = version()
    pair = {add(of, near(axis(0), 0.02, n), photograph(n)) for n in range(2)}
    compare(line)
    room = Room(1, 0.0, "full")
    monkeypatch.setattr("api.rooms.graphs", lambda: room)

    with room.place():
        other = api.get("/v1/duplicates", query_string={"max_distance": 0.1})
        usual = api.get("/v1/duplicates")

    assert (other.status_code, other.json["code"], usual.status_code) == (503, "busy", 200)
    assert groups(api, min_pixel_similarity=0, max_distance=0.1) == [pair]


def test_while_images_are_compared_the_groups_are_those_from_before(api: FlaskClient, line: ComparisonHandler) -> None:
    of, data = version(), photograph(1)
    pair = {add(of, near(axis(0), 0.02, n), brighter(data, 1 + n / 10)) for n in range(2)}
    compare(line)
    copy = add(of, near(axis(0), 0.02, 5), smaller(data))
    job_id = begin()
    with transaction() as session:  # as a batch does that is stored while others are left
        session.execute(
            text("""
                UPDATE nearest_neighbors SET neighbors = neighbors || CAST(:copy AS uuid),
                       distances = distances || 0.02, pixel_similarities = pixel_similarities || 1
            """),
            {"copy": copy},
        )
        duplicate_groups.note_changes(session, of.id, [home()])
    assert groups(api) == [pair]
    line.run()
    assert groups(api) == [pair | {copy}]
    with transaction() as session:
        assert jobs.get_job(session, job_id).finished_at is not None


def test_a_comparison_that_was_cancelled_leaves_groups_of_what_was_compared(
    api: FlaskClient, line: ComparisonHandler
) -> None:
    of, data = version(), photograph(1)
    pair = {add(of, near(axis(0), 0.02, n), brighter(data, 1 + n / 10)) for n in range(2)}
    compare(line)
    with transaction() as session:
        session.execute(text("UPDATE duplicate_grouping SET computed = NULL; DELETE FROM duplicate_group"))
    assert groups(api) == [pair]


def pairs(of: Any, count: int) -> list[set[UUID]]:
    """Pairs of copies, the newest first."""
    made = []
    for seed in range(count):
        data = photograph(20 + seed)
        made.append({add(of, near(axis(seed % 8), 0.02, 100 * seed + n), brighter(data, 1 + n / 10)) for n in range(2)})
    return made[::-1]


def test_pages_bring_every_group_once_the_newest_first(api: FlaskClient, line: ComparisonHandler) -> None:
    expected = pairs(version(), 5)
    compare(line)
    seen: list[set[UUID]] = []
    cursor: str | None = None
    while True:
        answer = api.get(
            "/v1/duplicates", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).get_json()
        seen += [{UUID(one["image_id"]) for one in group["images"]} for group in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert seen == expected


@pytest.mark.parametrize("path", ["/v1/duplicates?", "/v1/label-issues?min_probability=0&"])
@pytest.mark.direct
def test_a_page_costs_the_same_queries_whatever_its_size(api: FlaskClient, line: ComparisonHandler, path: str) -> None:
    of = version()
    pairs(of, 4)
    with transaction() as session:
        session.execute(text("UPDATE image SET label = right(blob_key, 1)"))
    compare(line)

    def cost(limit: int) -> int:
        asked: list[str] = []
        count = lambda *event_: asked.append(event_[2])  # noqa: E731
        event.listen(engine(), "before_cursor_execute", count)
        try:
            assert len(api.get(f"{path}limit={limit}").get_json()["items"]) == limit
        finally:
            event.remove(engine(), "before_cursor_execute", count)
        return len(asked)

    assert cost(1) == cost(4) <= 9


# Label issues.


def field(of: Any, *, wrong: int = 1) -> list[UUID]:
    """Roses around one axis and tulips around another, the first roses labelled tulip; the ids of those."""
    made = []
    for number in range(12):
        label = "tulip" if number < wrong else "rose"
        made.append(add(of, near(axis(0), 0.05, number), photograph(1), label=label))
        add(of, near(axis(1), 0.05, 50 + number), photograph(2), label="tulip")
    return made[:wrong]


def issues(api: FlaskClient, **query: object) -> list[dict[str, Any]]:
    answer = api.get("/v1/label-issues", query_string=query)
    assert answer.status_code == 200, answer.text
    return list(answer.get_json()["items"])


def test_a_wrong_label_is_found_with_its_evidence(api: FlaskClient, line: ComparisonHandler) -> None:
    (wrong,) = field(version())
    compare(line)
    (issue,) = issues(api)
    assert (issue["image_id"], issue["label"], issue["suggested_label"]) == (str(wrong), "tulip", "rose")
    assert issue["label_error_probability"] > 0.9
    assert [one["label"] for one in issue["evidence"]] == ["rose"] * 5
    distances = [one["distance"] for one in issue["evidence"]]
    assert distances == sorted(distances)


def test_labels_that_were_set_wrong_lead_the_list(api: FlaskClient, line: ComparisonHandler) -> None:
    of, names = version(), ("rose", "tulip", "daisy")
    flipped = set()
    for number in range(120):
        kind = number % 3
        wrong = number % 20 == 0  # 5 %
        label = names[(kind + 1) % 3] if wrong else names[kind]
        made = add(of, near(axis(kind), 0.2, number), photograph(kind), label=label)
        flipped |= {str(made)} if wrong else set()
    compare(line)
    assert {one["image_id"] for one in issues(api, limit=len(flipped))} == flipped


def test_setting_the_label_right_settles_it(api: FlaskClient, line: ComparisonHandler) -> None:
    (wrong,) = field(version())
    compare(line)
    api.patch(issues(api)[0]["links"]["self"], json={"label": "rose"})
    settled = issues(api)
    api.patch(f"/v1/images/{wrong}", json={"label": "tulip"})
    assert (settled, [one["image_id"] for one in issues(api)]) == ([], [str(wrong)])


def test_unlabelled_pictures_neither_vote_nor_are_doubted(api: FlaskClient, line: ComparisonHandler) -> None:
    of = version()
    for number in range(12):
        add(of, near(axis(0), 0.05, number), photograph(1), label="rose" if number < 2 else None)
    compare(line)
    assert issues(api, min_probability=0) == []


def test_the_worst_come_first_and_pages_bring_each_once(api: FlaskClient, line: ComparisonHandler) -> None:
    field(version(), wrong=5)
    compare(line)
    whole = issues(api, min_probability=0)
    seen: list[dict[str, Any]] = []
    query: dict[str, object] = {"min_probability": 0, "limit": 2}
    while True:
        answer = api.get("/v1/label-issues", query_string=query).get_json()
        seen += answer["items"]
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    assert seen == whole
    assert len(whole) > 5
    assert [one["label_error_probability"] for one in whole] == sorted(
        (one["label_error_probability"] for one in whole), reverse=True
    )


def test_a_card_without_a_calibration_is_said(api: FlaskClient, line: ComparisonHandler) -> None:
    field(version())
    compare(line)
    answer = api.get("/v1/label-issues").get_json()
    assert (answer["calibrated"], answer["compared"], answer["waiting"]) == (False, 24, 0)
