"""Comparing through the ledger: what is queued, what is stored, and what else happens to it meanwhile."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session

from ml.data.duplicates import quick_pixel_similarities
from stack.redis import Redis
from tests.integration.factory import Factory, unit
from tests.integration.scene import Silent, add, axis, begin, compare, comparison_line, near, photograph, version
from tests.integration.threshold import scan_up_to, scanned_up_to
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import Conflict, NotFound, NotReady
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.gallery import images
from umbel.gallery.images import remove_image
from umbel.insights import nearest_neighbors
from umbel.insights.comparison import ComparisonHandler, begin_comparison
from umbel.jobs import claims, items, jobs
from umbel.jobs.wakeup import waker
from umbel.operations import job_actions, maintenance
from umbel.operations.reconciliation import embeddings as reconciled
from umbel.operations.reconciliation.context import FIRST, Page

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module")
def line(postgres: object) -> Iterator[ComparisonHandler]:
    with comparison_line() as ours:
        yield ours


def rows() -> dict[UUID, tuple[list[UUID], list[float]]]:
    with transaction() as session:
        found = session.execute(text("SELECT image_id, neighbors, distances FROM nearest_neighbors"))
        return {row[0]: (list(row[1]), list(row[2])) for row in found}


def counts(job_id: UUID) -> dict[str, int]:
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        return {name: getattr(job, name) for name in ("total", "pending", "indexed", "failed", "cancelled")}


def all_black(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 40 + number)).save(out, "PNG")
    return out.getvalue()


def test_each_picture_gets_its_nearest_others_in_order(line: ComparisonHandler) -> None:
    of = version()
    vectors = {add(of, unit(seed), photograph(seed)): unit(seed) for seed in range(30)}
    compare(line)
    for image, (neighbors, distances) in rows().items():
        expected = sorted((1 - float(vectors[image] @ vectors[other]), other) for other in vectors if other != image)
        assert neighbors == [other for _, other in expected[:16]]
        assert np.allclose(distances, [distance for distance, _ in expected[:16]], atol=2e-3)


def test_neighbors_lie_in_the_same_collection(line: ComparisonHandler) -> None:
    of = version()
    inside = {add(of, unit(seed), photograph(seed), collection="a") for seed in range(3)}
    for seed in range(3, 6):
        add(of, unit(seed), photograph(seed), collection="b")
    compare(line)
    assert {other for image, (others, _) in rows().items() if image in inside for other in others} == inside


def test_a_picture_alone_has_no_neighbors(line: ComparisonHandler) -> None:
    alone = add(version(), axis(0), photograph(0))
    compare(line)
    assert rows() == {alone: ([], [])}


def test_only_what_is_new_is_queued(line: ComparisonHandler) -> None:
    of = version()
    for seed in range(5):
        add(of, unit(seed), photograph(seed))
    compare(line)
    new = add(of, unit(9), photograph(9))
    job_id = compare(line)
    with transaction() as session:
        assert [item.image_id for item in items.list_items(session, job_id, state=None, after=None, limit=9)] == [new]


def test_again_queues_all(line: ComparisonHandler) -> None:
    of = version()
    for seed in range(5):
        add(of, unit(seed), photograph(seed))
    compare(line)
    assert counts(compare(line, again=True)) == {"total": 5, "pending": 0, "indexed": 5, "failed": 0, "cancelled": 0}


def test_nothing_new_is_no_job(line: ComparisonHandler) -> None:
    add(version(), axis(0), photograph(0))
    compare(line)
    assert begin_comparison(transaction, Silent(), collection=None) is None  # type: ignore[arg-type]


def test_pictures_without_an_embedding_are_not_queued() -> None:
    of = version()
    with transaction() as session:
        Factory(session).image()
    add(of, axis(0), photograph(0))
    assert counts(begin())["total"] == 1


@pytest.mark.parametrize(
    ("running", "wanted"), [("default", "default"), ("default", None), (None, "default"), (None, None)]
)
def test_one_comparison_of_a_collection_at_a_time(running: str | None, wanted: str | None) -> None:
    add(version(), axis(0), photograph(0))
    job_id = begin(collection=running)
    with pytest.raises(Conflict, match=str(job_id)):
        begin(collection=wanted)


def test_two_collections_may_be_compared_side_by_side() -> None:
    of = version()
    for number, name in enumerate(("a", "b")):
        add(of, axis(number), photograph(number), collection=name)
    assert begin(collection="a") != begin(collection="b")


def test_a_comparison_needs_a_model_and_a_collection_that_is_there() -> None:
    with pytest.raises(NotReady):
        begin()
    version()
    with pytest.raises(NotFound):
        begin(collection="nowhere")


def test_cancelling_touches_no_image(line: ComparisonHandler) -> None:
    image = add(version(), axis(0), photograph(0))
    job_id = begin()
    job_actions.cancel_job(transaction, job_id)
    line.run()
    with transaction() as session:
        assert (jobs.get_job(session, job_id).status, images.get_image(session, image).status) == (
            "cancelled",
            "indexed",
        )
    assert rows() == {}


def test_an_image_that_is_deleted_while_a_comparison_begins_leaves_nothing_pending(line: ComparisonHandler) -> None:
    of = version()
    image = add(of, axis(0), photograph(0))
    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            found = nearest_neighbors.insert_comparison(session, of.id, None, again=True)
            removed = pool.submit(remove_image, transaction, blobs(), image)
            with pytest.raises(TimeoutError):  # it waits for the image, whose items it has looked for already
                removed.result(timeout=0.5)
        removed.result(timeout=10)
    assert found is not None
    assert counts(found[0]) == {"total": 1, "pending": 0, "indexed": 0, "failed": 0, "cancelled": 1}


def test_a_paused_comparison_stands_still_until_it_is_resumed(line: ComparisonHandler, redis: Redis) -> None:
    add(version(), axis(0), photograph(0))
    job_id = begin()
    job_actions.pause_job(transaction, job_id)
    stood = line.run()
    job_actions.resume_job(transaction, waker(), job_id)
    assert (stood, line.run()) == (0, 1)


def test_the_sweep_rings_for_it(redis: Redis) -> None:
    add(version(), axis(0), photograph(0))
    begin()
    assert maintenance.sweep(transaction, waker(), settings()) == [Queue.COMPARE, Queue.EVENTS]


def test_it_does_not_count_as_waiting_for_an_embedding() -> None:
    add(version(), axis(0), photograph(0))
    begin()
    with transaction() as session:
        assert claims.count_pending(session) == 0


def test_reconciliation_queues_a_lost_embedding_though_a_comparison_is_pending() -> None:
    of = version()
    image = add(of, axis(0), photograph(0))
    begin()
    with transaction() as session:
        session.execute(text("DELETE FROM embedding"))
        bare = reconciled.list_unembedded_images(session, of.id, Page(FIRST, UUID(int=2**128 - 1), 1))
    assert list(bare) == [image]


def test_a_picture_that_lost_its_embedding_fails_alone(line: ComparisonHandler) -> None:
    of = version()
    bare = add(of, axis(0), photograph(0))
    add(of, axis(1), photograph(1))
    job_id = begin()
    with transaction() as session:
        session.execute(text("DELETE FROM embedding WHERE image_id = :id"), {"id": bare})
    line.run()
    with transaction() as session:
        failed = items.list_items(session, job_id, state="failed", after=None, limit=9)
    assert [(item.image_id, item.error_code) for item in failed] == [(bare, "not_embedded")]
    assert counts(job_id)["indexed"] == 1


def test_what_failed_can_be_tried_again(line: ComparisonHandler, redis: Redis) -> None:
    of = version()
    bare = add(of, axis(0), photograph(0))
    job_id = begin()
    with transaction() as session:
        session.execute(text("DELETE FROM embedding"))
    line.run()
    with transaction() as session:
        collection_id = Factory(session).collection()
        session.execute(
            text("INSERT INTO embedding VALUES (:v, :i, :c, :x)"),
            {"v": of.id, "i": bare, "c": collection_id, "x": str(axis(0).tolist())},
        )
    job_actions.retry_job(transaction, waker(), job_id)
    line.run()
    assert counts(job_id) == {"total": 1, "pending": 0, "indexed": 1, "failed": 0, "cancelled": 0}


def test_a_removed_picture_leaves_nothing_behind(line: ComparisonHandler) -> None:
    of = version()
    gone, queued = (add(of, near(axis(0), 0.01, seed), photograph(5)) for seed in range(2))
    compare(line)
    job_id = begin(again=True)
    remove_image(transaction, blobs(), gone)
    line.run()
    with transaction() as session:
        left = session.execute(
            text("SELECT (SELECT count(*) FROM nearest_neighbors), (SELECT count(*) FROM image_signature)")
        ).one()
    assert (list(rows()), tuple(left)) == ([queued], (1, 1))
    assert counts(job_id) == {"total": 2, "pending": 0, "indexed": 1, "failed": 0, "cancelled": 1}


def test_a_wrong_vector_takes_its_neighbors_along(line: ComparisonHandler) -> None:
    of = version()
    wrong, right = (add(of, axis(number), photograph(number)) for number in range(2))
    compare(line)
    with transaction() as session:
        session.execute(
            text("UPDATE embedding SET vector = :x WHERE image_id = :id"), {"x": str([3.0] * 8), "id": wrong}
        )
        reconciled.delete_wrong_vectors(session, of, Page(FIRST, UUID(int=2**128 - 1), 2))
    assert list(rows()) == [right]


def test_a_claim_that_never_came_back_is_taken_up_again(line: ComparisonHandler) -> None:
    of = version()
    for seed in range(20):
        add(of, unit(seed), photograph(seed))
    job_id = begin()
    with transaction() as session:
        claims.claim_items(session, Queue.COMPARE, owner="dead", limit=100, lease_seconds=-1)
    line.run()
    assert counts(job_id) == {"total": 20, "pending": 0, "indexed": 20, "failed": 0, "cancelled": 0}


def test_a_picture_that_cannot_be_seen_is_compared_by_its_embedding_alone(line: ComparisonHandler) -> None:
    of = version()
    for seed in range(2):
        add(of, near(axis(0), 0.01, seed), photograph(5))
    with transaction() as session:
        keys = session.scalars(text("SELECT blob_key FROM image")).all()
    blobs().put(keys[0], b"damaged meanwhile")
    compare(line)
    with transaction() as session:
        seen = session.execute(text("SELECT count(*), count(pixels) FROM image_signature")).one()
        similarities = session.scalars(text("SELECT pixel_similarity FROM nearest_neighbors")).all()
    assert (tuple(seen), similarities) == ((2, 1), [0, 0])


def test_what_makes_a_comparison_fail_fails_alone() -> None:
    def choking(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        if any(not thumb.any() for thumb in thumbs):
            raise FloatingPointError("black")
        return quick_pixel_similarities(thumbs, pairs)

    of = version()
    for number in range(6):
        for n in range(2):
            add(of, near(axis(number), 0.01, 10 * number + n), photograph(number))
    black = {add(of, near(axis(7), 0.01, n), all_black(n)) for n in range(2)}
    with comparison_line(choking) as line:
        job_id = compare(line)
    with transaction() as session:
        failed = items.list_items(session, job_id, state="failed", after=None, limit=99)
    assert {(item.image_id, item.error_code, item.attempts) for item in failed} == {(one, "poison", 3) for one in black}
    assert counts(job_id)["indexed"] == 12


def test_pictures_far_from_all_others_are_not_looked_at(line: ComparisonHandler) -> None:
    of = version()
    for number in range(3):
        add(of, axis(number), photograph(number))
    compare(line)
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM image_signature")) == 0


def test_a_large_collection_waits_for_its_index(line: ComparisonHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    of = version()
    for seed in range(4):
        add(of, unit(seed), photograph(seed))
    monkeypatch.setattr("umbel.insights.comparison.UNBEARABLE", 3)
    with transaction() as session:
        session.execute(text(f"DROP INDEX embedding_{of.id.hex}_hnsw"))
    job_id = begin()
    line.run()
    assert counts(job_id)["pending"] == 4
    with transaction() as session:
        assert session.scalars(text("SELECT DISTINCT attempts FROM job_item")).all() == [0]


def test_through_the_index_the_same_neighbors_are_found(line: ComparisonHandler) -> None:
    of = version()
    for seed in range(60):
        add(of, unit(seed), photograph(1), collection=("a", "b")[seed % 2])
    compare(line)
    exact = rows()
    with scanned_up_to(0):
        compare(line, again=True)
    assert {image: neighbors for image, (neighbors, _) in rows().items()} == {
        image: neighbors for image, (neighbors, _) in exact.items()
    }


def test_each_image_of_a_batch_is_searched_through_the_index(session: Session, make: Factory) -> None:
    of = make.version(dim=64)
    images = [make.image(vector=unit(seed, 64), version=of) for seed in range(50)]
    scan_up_to(session, 0)
    scans = text(f"SELECT pg_stat_get_xact_numscans('embedding_{of.id.hex}_hnsw'::regclass)")
    before = session.scalar(scans) or 0
    found = nearest_neighbors.list_nearest(session, of, make.collection(), images[:5], k=3)
    assert (session.scalar(scans) or 0) - before == 5
    assert [len(near.neighbors) for near in found] == [3] * 5
