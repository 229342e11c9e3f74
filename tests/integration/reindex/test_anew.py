"""Everything embedded anew with the active model: as another version of it, judged, switched to and gone back from."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.reindex.gallery import Models, begin, embedded, reindex_of, run, state, status, upload
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import Conflict
from umbel.base.tables import ModelVersion
from umbel.base.types import ModelState
from umbel.embedding.embedding import EmbeddingHandler
from umbel.gallery import collections
from umbel.jobs import jobs
from umbel.models import checkpoints, collection_calibrations, lifecycle, partitions, versions
from umbel.models.calibration import Calibration
from umbel.operations import job_actions
from umbel.reindex.run import ReindexHandler

pytestmark = pytest.mark.usefixtures("database")

CARD = Path(__file__).parents[3] / "ml" / "weights" / "umbel-b0.json"
CALIBRATION = Calibration.model_validate(json.loads(CARD.read_text())["calibration"])


def begin_anew(models: Models, **options: object) -> tuple[ModelVersion, UUID]:
    """A version of the active model, whose embedder it shares, and the reindex that fills it."""
    job_id = begin(**options)
    with transaction() as session:
        active = versions.get_active_key(session)
        version = versions.get_version(session, jobs.get_job(session, job_id).model_version_id)  # type: ignore[arg-type]
    models.share(version, active.id)
    return version, job_id


def test_it_switches_after_the_check_and_goes_back(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    version, job_id = begin_anew(models)
    with pytest.raises(Conflict, match=str(job_id)):
        begin()
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    assert (report["active"], report["candidate"]) == (active.name, f"{active.name}@2")
    assert (status(job_id), report["switched"]) == (("succeeded", 40, 40), True)
    assert embedded(version) == embedded(active)
    assert (state(active), state(version)) == (ModelState.READY, ModelState.ACTIVE)
    assert lifecycle.rollback(transaction, version.id).id == active.id


def test_an_image_that_comes_meanwhile_is_computed_once_for_both(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 4)
    version, _ = begin_anew(models)
    run(reindexing, line)
    before = models.known[active.id].embedder.asked  # type: ignore[attr-defined]
    upload(line, 3)
    assert models.known[active.id].embedder.asked == before + 3  # type: ignore[attr-defined]
    assert len(embedded(version)) == len(embedded(active)) == 7


def test_what_fell_behind_is_given_up_by_the_next_but_for_the_way_back(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    generations = [active]
    for _ in range(3):
        generations.append(begin_anew(models)[0])
        run(reindexing, line)
    assert [each.name.removeprefix(active.name) for each in generations] == ["", "@2", "@3", "@4"]
    assert [state(each) for each in generations] == [
        ModelState.RETIRED, ModelState.REGISTERED, ModelState.READY, ModelState.ACTIVE,
    ]  # fmt: skip
    cancelled, job_id = begin_anew(models)
    job_actions.cancel_job(transaction, job_id)
    begin_anew(models)
    assert state(cancelled) == ModelState.RETIRED


def test_the_checkpoint_registered_again_is_the_version_that_searches_use(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    version, _ = begin_anew(models)
    run(reindexing, line)
    lifecycle.retire(transaction, active.id)
    assert lifecycle.drop_retired(transaction, seconds=0) == [active.id]
    with transaction() as session:
        args = (active.name, "none", active.dim, active.weights_sha256, "none", {})
        assert checkpoints.register(session, blobs(), checkpoints.Candidate(b"", b"", *args)).id == version.id
        assert not partitions.has_partition(session, active.id)


def test_a_calibration_of_a_collection_holds_for_the_model_anew(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    with transaction() as session:
        collection = collections.upsert_collection(session, "default")
        known = collection_calibrations.upsert_calibration(session, collection, active.id, CALIBRATION)
    version, _ = begin_anew(models)
    run(reindexing, line)
    with transaction() as session:
        found = collection_calibrations.find_calibration(session, collection, version.id)
    assert found is not None
    assert (found.calibration, found.calibrated_at) == (known.calibration, known.calibrated_at)
