"""Model versions after a reindex: going back, falling behind, retiring; searches go on beside it."""

from unittest.mock import Mock

import numpy as np
import pytest
from sqlalchemy import text

from tests.integration.factory import DIM, Factory, unit
from tests.integration.reindex.gallery import Models, advance, begin, embedded, make_version, run, state, status, upload
from umbel.base import tallies
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import Conflict
from umbel.base.tables import ModelVersion
from umbel.base.types import ModelState
from umbel.embedding import embeddings
from umbel.embedding.embedding import EmbeddingHandler
from umbel.models import checkpoints, lifecycle, partitions
from umbel.models.versions import VersionKey
from umbel.operations.reconciliation.tallies import list_wrong_tallies
from umbel.reindex.run import ReindexHandler
from umbel.search.nearest import Scope, nearest_images

pytestmark = pytest.mark.usefixtures("database")


def test_going_back_is_instant_and_loses_nothing(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    other = make_version(models)
    begin(other, activate=True)
    run(reindexing, line)
    upload(line, 3)
    assert lifecycle.rollback(transaction, other.id).id == active.id
    assert (state(active), state(other)) == (ModelState.ACTIVE, ModelState.READY)
    assert len(embedded(active)) == 43
    with pytest.raises(Conflict, match="replaced no other"):
        lifecycle.rollback(transaction, active.id)
    with pytest.raises(Conflict, match="not active"):
        lifecycle.rollback(transaction, other.id)


def test_a_third_model_lets_the_first_fall_behind(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    second, third = make_version(models), make_version(models)
    for version in (second, third):
        begin(version, activate=True)
        run(reindexing, line)
    upload(line, 1)
    assert (state(active), state(second), state(third)) == (ModelState.REGISTERED, ModelState.READY, ModelState.ACTIVE)
    assert [len(embedded(version)) for version in (active, second, third)] == [40, 41, 41]


@pytest.mark.parametrize("phase", ["embedding", "indexing", "switching"])
def test_a_reindex_ends_although_another_version_is_activated_meanwhile(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion, phase: str
) -> None:
    """The former version is the standby then; the reindexed one takes its place."""
    upload(line, 40)
    second, third = make_version(models), make_version(models)
    begin(second)
    run(reindexing, line)
    job_id = begin(third)
    advance(reindexing, line, job_id, phase)
    lifecycle.activate(transaction, second.id)
    assert (state(active), state(second), state(third)) == (ModelState.READY, ModelState.ACTIVE, ModelState.REGISTERED)
    run(reindexing, line)
    assert status(job_id)[0] == "succeeded"
    assert (state(active), state(second), state(third)) == (ModelState.REGISTERED, ModelState.ACTIVE, ModelState.READY)
    upload(line, 1)
    assert [len(embedded(version)) for version in (active, second, third)] == [40, 41, 41]


def test_what_is_retired_goes_beside_searches_and_can_come_back(
    models: Models, line: EmbeddingHandler, active: ModelVersion
) -> None:
    upload(line, 3)
    other = make_version(models)
    with pytest.raises(Conflict, match="is active"):
        lifecycle.retire(transaction, active.id)
    assert lifecycle.retire(transaction, other.id).state == ModelState.RETIRED
    assert lifecycle.drop_retired(transaction, seconds=60) == []  # searches that began before may need it
    assert lifecycle.drop_retired(transaction, seconds=0) == [other.id]
    with transaction() as session:
        assert not partitions.has_partition(session, other.id)
        assert len(embeddings.find_vectors(session, active.id, list(embedded(active)))) == 3
    with pytest.raises(Conflict, match="register it again"):
        begin(other)
    with transaction() as session:
        candidate = checkpoints.Candidate(b"", b"", other.name, "none", DIM, other.weights_sha256, "none", {})
        assert checkpoints.register(session, blobs(), candidate).state == ModelState.REGISTERED
    begin(other)


def test_a_drop_that_is_cut_short_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        make = Factory(session)
        retired = make.version(active=False)
        make.image(vector=unit(1), version=retired)
    lifecycle.retire(transaction, retired.id)
    with monkeypatch.context() as patched:
        patched.setattr(tallies, "forget_version", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lifecycle.drop_retired(transaction, seconds=0)
    assert lifecycle.drop_retired(transaction, seconds=0) == [retired.id]
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM tally WHERE counted = 'embedded'")) == 0
        assert list_wrong_tallies(session) == []


def test_a_search_under_way_ends_with_the_version_it_began_with(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    pictures = upload(line, 40)
    other = make_version(models, dim=16)
    begin(other, activate=True)
    query, key = models.known[active.id].embedder.embed([np.array([[[101]]])])[0], VersionKey(active.id, active.dim)  # type: ignore[list-item]
    run(reindexing, line)
    with transaction() as session:
        found = nearest_images(session, query, version=key, k=1, scope=Scope())
    assert [match.image_id for match in found.matches] == [pictures[0]]


def test_searches_do_not_wait_for_a_partition_that_comes(
    models: Models, line: EmbeddingHandler, active: ModelVersion
) -> None:
    [picture] = upload(line, 1)
    key = VersionKey(active.id, active.dim)
    with transaction() as session:
        version = Factory(session, start=50).version(active=False)
        assert partitions.has_partition(session, version.id)
        with transaction() as other:  # while the partition is there and not committed
            other.execute(text("SET LOCAL lock_timeout = '1s'"))
            vector = embeddings.find_vectors(other, active.id, [picture])[picture]
            assert len(nearest_images(other, vector, version=key, k=1, scope=Scope()).matches) == 1


def test_a_partition_that_comes_does_not_wait_for_searches(models: Models, active: ModelVersion) -> None:
    with transaction() as searching:
        searching.execute(text("SELECT count(*) FROM embedding"))
        with transaction() as session:
            assert Factory(session, start=60).version(active=False) is not None
