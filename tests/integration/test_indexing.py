"""The HNSW index around a large load: left out, searched exactly meanwhile, built after, and never left half built."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.integration.factory import Factory, unit
from tests.integration.index_builds import terminated, unfinished_indexes
from tests.processes import eventually
from umbel.base.database import autocommit, transaction
from umbel.base.errors import NotReady
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.base.types import ItemState, JobType, Queue
from umbel.jobs import items, jobs
from umbel.models import indexing, partitions
from umbel.models.indexing import build_index, defer_index
from umbel.operations import job_actions
from umbel.search.nearest import Scope, nearest_images

pytestmark = pytest.mark.usefixtures("database")

FEW = settings().model_copy(update={"defer_index_above": 3, "index_memory_mb": 64})


@pytest.fixture
def version() -> ModelVersion:
    with transaction() as session:
        return Factory(session).version()


def load(images: int, *, there: int = 0, version: ModelVersion) -> UUID:
    """An import with so many pictures pending, into a gallery that has some."""
    with transaction() as session:
        make = Factory(session, start=session.execute(text("SELECT count(*) FROM image")).scalar_one() + 1)
        for seed in range(there):
            make.image(vector=unit(seed), version=version)
        job = make.job(job_type=JobType.IMPORT)
        for _ in range(images):
            make.item(job, queue=Queue.BULK)
        defer_index(session, job, FEW, added=images)
        return job


def finish(job: UUID) -> None:
    with transaction() as session:
        found = [item.id for item in items.list_items(session, job, state=None, after=None, limit=99)]
        items.finish_items(session, found, ItemState.INDEXED)


def has_index(version: ModelVersion) -> bool:
    with transaction() as session:
        return partitions.has_index(session, version.id)


def status(job: UUID) -> str:
    with transaction() as session:
        return jobs.get_job(session, job).status


@pytest.mark.parametrize(("images", "there", "kept"), [(5, 0, False), (5, 5, False), (2, 0, True), (5, 6, True)])
def test_it_is_left_out_for_a_large_load_into_fewer(version: ModelVersion, images: int, there: int, kept: bool) -> None:
    load(images, there=there, version=version)
    assert has_index(version) == kept


def test_it_is_not_left_out_of_a_gallery_that_is_not_small(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "SMALL", 3)
    load(9, there=4, version=version)
    assert has_index(version)


def test_it_is_left_out_once_and_not_tried_again_behind_a_dump(version: ModelVersion) -> None:
    with transaction() as dump:
        dump.execute(text(f"LOCK TABLE {partitions.partition_name(version.id)} IN ACCESS SHARE MODE"))
        job = load(5, version=version)
        assert has_index(version)
    with transaction() as session:
        make = Factory(session, start=99)
        make.item(job, queue=Queue.BULK)
        defer_index(session, job, FEW, added=1)
    assert has_index(version)


def test_it_is_built_while_the_job_that_waits_for_it_is_paused(version: ModelVersion) -> None:
    job = load(5, version=version)
    assert not build_index(transaction, FEW)
    job_actions.pause_job(transaction, job)
    assert build_index(transaction, FEW)


def test_it_is_built_amid_a_load_that_has_made_the_gallery_large(
    version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(9, there=5, version=version)
    assert not build_index(transaction, FEW)
    monkeypatch.setattr(indexing, "UNINDEXED", 4)
    assert build_index(transaction, FEW)
    assert has_index(version)


def test_searches_stay_right_while_there_is_none(version: ModelVersion) -> None:
    load(9, there=5, version=version)
    with transaction() as session:
        found = nearest_images(session, unit(3), version=version, k=1, scope=Scope())
    assert (found.mode, found.matches[0].distance) == ("exact", pytest.approx(0, abs=1e-3))


def test_it_is_built_when_the_load_is_over_and_then_the_job_is_finished(version: ModelVersion) -> None:
    job = load(5, version=version)
    too_early = build_index(transaction, FEW)
    finish(job)
    loaded = status(job)
    built = build_index(transaction, FEW)
    assert (too_early, loaded, built) == (False, "running", True)
    assert (has_index(version), status(job)) == (True, "succeeded")


def test_another_load_beside_it_waits_for_the_same_index(version: ModelVersion) -> None:
    first, second = load(5, version=version), load(5, version=version)
    finish(first)
    between = build_index(transaction, FEW)
    finish(second)
    build_index(transaction, FEW)
    assert (between, status(first), status(second)) == (False, "succeeded", "succeeded")


def test_what_a_killed_build_left_behind_is_replaced(version: ModelVersion) -> None:
    finish(load(5, version=version))
    with ThreadPoolExecutor(1) as other:
        with transaction() as writer:  # CONCURRENTLY waits for whoever is writing
            Factory(writer, start=99).image(vector=unit(1), version=version)
            building = other.submit(build_index, transaction, FEW)
            eventually(lambda: unfinished_indexes() == 1)  # its entry is committed: a kill leaves it behind
            assert terminated("CREATE INDEX CONCURRENTLY%")
        with pytest.raises(NotReady):
            building.result()
    assert (unfinished_indexes(), has_index(version)) == (1, False)
    assert build_index(transaction, FEW)
    assert has_index(version)


def test_it_is_built_by_one_at_a_time(version: ModelVersion) -> None:
    finish(load(5, version=version))
    with autocommit() as other:
        name = f"{partitions.partition_name(version.id)}_hnsw"
        other.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": name})
        meanwhile = build_index(transaction, FEW)
        other.execute(text("SELECT pg_advisory_unlock_all()"))
    assert (meanwhile, build_index(transaction, FEW)) == (False, True)


def test_nothing_is_built_where_nothing_is_missing(version: ModelVersion) -> None:
    assert not build_index(transaction, FEW)


def test_jobs_do_not_wait_for_an_index_that_was_built_before_its_builder_was_killed(version: ModelVersion) -> None:
    job = load(5, version=version)
    finish(job)
    with autocommit() as connection:
        partitions.build_index(connection, version.id, version.dim, memory_mb=64, processes=0)
    waiting = status(job)
    build_index(transaction, FEW)
    assert (waiting, status(job)) == ("running", "succeeded")
