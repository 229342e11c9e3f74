"""Counts that are kept are those of the rows, whatever changes them; to read one costs the same for any number."""

from collections import Counter
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.factory import Factory, fill, unit
from tests.integration.plans import counted_rows, empty_tables
from umbel.base import tallies
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import ItemState, Queue
from umbel.gallery import collections, images
from umbel.insights import nearest_neighbors
from umbel.insights.nearest_neighbors import ComparedImage
from umbel.jobs import claims, items
from umbel.models import partitions
from umbel.operations.reconciliation.tallies import ROWS
from umbel.operations.statistics import FIGURES, count


def kept(session: Session) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for counted, place, change in session.execute(text("SELECT counted, place, change FROM tally")):
        sums[counted, place] += change
    return Counter({key: number for key, number in sums.items() if number})


def counted(session: Session) -> Counter[tuple[str, str]]:
    return Counter({(what, place): number for what, place, number in session.execute(text(ROWS))})


def compared(image_id: UUID, collection_id: UUID) -> ComparedImage:
    return ComparedImage(image_id, collection_id, [], [], [], None, None, None)


def test_they_follow_whatever_changes_rows(session: Session, make: Factory) -> None:
    version, standby = make.version(), make.version(active=False)
    made = [make.image(vector=unit(n), version=version, collection="ab"[n % 2]) for n in range(6)]
    make.image(vector=unit(7), version=standby)
    job_id = make.job()
    pending = [make.item(job_id, queue=Queue.BULK) for _ in range(4)]
    make.item(make.job(), state=ItemState.FAILED)
    home = make.collection("a")
    nearest_neighbors.upsert_nearest_neighbors(session, version.id, [compared(one, home) for one in made[::2]])
    assert kept(session) == counted(session)
    session.execute(text("UPDATE job_item SET paused = true WHERE id = :id"), {"id": pending[0]})
    items.finish_items(session, pending[1:3], ItemState.INDEXED)
    claims.claim_items(session, Queue.BULK, owner="one", limit=1, lease_seconds=9)
    nearest_neighbors.upsert_nearest_neighbors(session, version.id, [compared(made[0], home)])  # once more
    images.delete_images(session, [made[0]])  # with its vector and its neighbors
    session.execute(text("DELETE FROM job WHERE id <> :id"), {"id": job_id})
    assert kept(session) == counted(session)
    tallies.add_up(session)
    assert kept(session) == counted(session)
    assert session.scalar(text("SELECT count(*) FROM tally")) == len(counted(session))


def test_those_who_count_do_not_wait_for_each_other(database: None) -> None:
    with transaction() as session:
        make = Factory(session)
        make.version()
        make.image()
    with transaction() as one, transaction() as other:
        Factory(one, start=100).image()
        other.execute(text("SET LOCAL lock_timeout = '100ms'"))
        Factory(other, start=200).image()
        tallies.add_up(other)
    with transaction() as session:
        assert collections.describe_collection(session, "default").images == 3
        assert kept(session) == counted(session)


def test_the_vectors_of_a_dropped_version_are_forgotten(session: Session, make: Factory) -> None:
    version = make.version()
    make.image(vector=unit(1), version=version)
    tallies.forget_version(session, version.id)
    assert not [key for key in kept(session) if key[0] == "embedded"]


@pytest.mark.parametrize("analyzed", [True, False])
def test_to_read_counts_costs_the_same_for_any_number(session: Session, make: Factory, analyzed: bool) -> None:
    empty_tables(session)
    version, home = make.version(), make.collection("large")
    job_id, many = make.job(), 3_000
    partitions.drop_index(session, version.id)  # which would take long to fill

    def read() -> int:
        total = 0
        with counted_rows(session) as cost:
            for figure in FIGURES:
                total += cost(lambda figure=figure: count(session, figure))[1]  # type: ignore[misc]
            for call in (
                lambda: collections.list_collections(session, after=None, limit=9),
                lambda: claims.count_pending(session),
                lambda: nearest_neighbors.count_compared(session, version.id, None),
            ):
                total += cost(call)[1]
        return total

    def add(number: int) -> None:
        fill(session, version, home, number)
        session.execute(
            text("""
                INSERT INTO job_item (job_id, image_id, queue, state)
                SELECT :job, id, 'bulk', 'pending' FROM image WHERE collection_id = :home
            """),
            {"job": job_id, "home": home},
        )
        session.execute(
            text("INSERT INTO job (type, closed) SELECT 'upload', true FROM generate_series(1, :n)"), {"n": number}
        )
        tallies.add_up(session)
        if analyzed:
            session.execute(text("ANALYZE image, job, job_item, tally, collection"))

    add(1)
    few = read()
    session.execute(text("DELETE FROM job_item; DELETE FROM image"))
    add(many)
    assert claims.count_pending(session) == many < settings().max_pending
    assert read() <= few + 100
