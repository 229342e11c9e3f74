"""A reindex from phase to phase on a real database, its models made up: so each step can be taken by itself."""

from uuid import UUID

import pytest

from tests.integration.reindex.gallery import (
    Models,
    advance,
    begin,
    embedded,
    make_version,
    run,
    state,
    status,
    upload,
    worked,
)
from tests.integration.scene import Silent
from umbel.base.database import transaction
from umbel.base.errors import Conflict, NotFound
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.base.types import ItemState, ModelState, Queue, ReindexMode
from umbel.embedding.embedding import EmbeddingHandler
from umbel.models import versions
from umbel.models.reindexes import begin_reindex
from umbel.operations import job_actions
from umbel.operations.maintenance import sweep
from umbel.reindex.run import ReindexHandler

pytestmark = pytest.mark.usefixtures("database")


def test_pictures_that_come_meanwhile_and_after_are_embedded_with_both(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 5)
    other = make_version(models)
    begin(other, activate=True)
    reindexing.run()  # listed
    assert len(upload(line, 3)) == 3
    assert len(embedded(other)) == 3
    run(reindexing, line)
    upload(line, 2)
    assert embedded(active) == embedded(other)
    assert len(embedded(active)) == 10


def test_a_batch_claimed_before_a_version_came_to_be_kept_is_embedded_with_it_too(
    models: Models, line: EmbeddingHandler, active: ModelVersion
) -> None:
    [picture] = upload(line, 1, embed=False)
    batch = worked(line)
    other = make_version(models)
    with transaction() as session:
        versions.change_version(session, other.id, state=ModelState.BACKFILLING)
    assert line._store(batch) == 1
    assert embedded(active) == embedded(other) == {picture}


def test_one_runs_at_a_time(models: Models, active: ModelVersion) -> None:
    job_id = begin(make_version(models))
    with pytest.raises(Conflict, match=str(job_id)):
        begin(make_version(models))
    with pytest.raises(Conflict, match=str(job_id)):
        begin(mode=ReindexMode.INDEX)


def test_what_cannot_be_reindexed_is_told(models: Models, active: ModelVersion) -> None:
    with pytest.raises(Conflict, match="name no model"):
        begin(active)
    with pytest.raises(NotFound):
        begin_reindex(transaction, Silent(), mode=ReindexMode.EMBEDDINGS, version_id=UUID(int=7))  # type: ignore[arg-type]


def test_a_model_that_cannot_be_loaded_fails_its_reindex_and_holds_up_nobody(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    broken = make_version(models)
    del models.known[broken.id]
    job_id = begin(broken)
    reindexing.run()
    assert (status(job_id)[0], state(broken)) == ("failed", ModelState.REGISTERED)
    assert len(upload(line, 2)) == len(embedded(active)) == 2


@pytest.mark.parametrize("phase", ["listing", "embedding", "indexing", "evaluating", "switching"])
def test_cancelled_in_any_phase_another_goes_on_from_there(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion, phase: str
) -> None:
    upload(line, 12)
    other = make_version(models)
    job_id = begin(other, activate=True)
    advance(reindexing, line, job_id, phase)
    job_actions.cancel_job(transaction, job_id)
    reindexing.run()
    assert status(job_id)[0] == "cancelled"
    assert (state(active), state(other)) == (ModelState.ACTIVE, ModelState.REGISTERED)
    had = len(embedded(other))
    upload(line, 1)
    assert len(embedded(other)) == had
    again = begin(other, activate=False)
    run(reindexing, line)
    assert status(again) == ("succeeded", 13 - had, 13 - had)
    assert (state(other), embedded(other)) == (ModelState.READY, embedded(active))


def test_paused_it_waits(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 4)
    job_id = begin(make_version(models))
    reindexing.run()
    job_actions.pause_job(transaction, job_id)
    run(reindexing, line)
    assert status(job_id) == ("queued", 4, 0)
    job_actions.resume_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    run(reindexing, line)
    assert status(job_id) == ("succeeded", 4, 4)


def test_the_sweep_rings_for_what_a_worker_left(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    assert Queue.REINDEX not in sweep(transaction, Silent(), settings())  # type: ignore[arg-type]
    begin(make_version(models))
    assert Queue.REINDEX in sweep(transaction, Silent(), settings())  # type: ignore[arg-type]
    run(reindexing, line)
    assert Queue.REINDEX not in sweep(transaction, Silent(), settings())  # type: ignore[arg-type]


def test_items_of_a_reindex_do_not_count_as_a_pictures_own(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    from umbel.gallery import images  # noqa: PLC0415

    [picture] = upload(line, 1)
    begin(make_version(models))
    reindexing.run()
    with transaction() as session:
        assert images.get_image(session, picture).status == ItemState.INDEXED
