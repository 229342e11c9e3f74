"""A reindex from phase to phase on a real database, its models made up: so each step can be taken by itself."""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text

from ml.evaluation.comparison import compare_models
from tests.integration.factory import DIM, Factory, unit
from tests.integration.scene import Silent
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import BadCheckpoint, Conflict, NotFound
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion, Reindex
from umbel.base.types import ItemState, LoadedModel, ModelState, Pixels, Queue, ReindexMode, ReindexPhase, Vectors
from umbel.embedding import embeddings
from umbel.embedding.embedding import EmbeddingLine
from umbel.jobs import claims, jobs
from umbel.jobs.claims import Leases
from umbel.models import checkpoints, lifecycle, partitions, registration, reindexes, versions
from umbel.models.partitions import Hnsw
from umbel.models.reindex import begin_reindex
from umbel.models.versions import VersionKey
from umbel.operations import job_actions
from umbel.operations.maintenance import sweep
from umbel.reindex.run import ReindexLine
from umbel.search.nearest import Scope, nearest_images

pytestmark = pytest.mark.usefixtures("database")

KINDS = 4


class Embedder:
    """Vectors by a picture's number: near those of its kind, by a rule that `seed` and `noise` change."""

    device, batch_size = "cpu", 8

    def __init__(self, version: ModelVersion, *, noise: float = 0.05) -> None:
        self.weights_sha256, self.dim = version.weights_sha256, version.dim
        self._noise, self.asked = noise, 0

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        self.asked += len(pixels)
        found = [self.vector(int(each.flat[0])) for each in pixels]
        return np.stack(found) if found else np.empty((0, self.dim), np.float32)

    def vector(self, number: int) -> Vectors:
        kind = np.eye(self.dim, dtype=np.float32)[number % KINDS]
        vector = kind + self._noise * unit(number, self.dim)
        return (vector / np.linalg.norm(vector)).astype(np.float16).astype(np.float32)


class Decoder:
    """A picture's pixels are the number in its blob's key."""

    def decode(self, picture: str, *, urgent: bool = False) -> Future[Pixels]:
        future: Future[Pixels] = Future()
        future.set_result(np.array([[[int(picture.rpartition("/")[2])]]], np.int64))  # type: ignore[arg-type]
        return future


class Models:
    """Every version that a test has made a model for; the others cannot be loaded."""

    def __init__(self) -> None:
        self.known: dict[UUID, LoadedModel] = {}

    def add(self, version: ModelVersion, *, noise: float = 0.05) -> Embedder:
        embedder = Embedder(version, noise=noise)
        self.known[version.id] = LoadedModel(version.id, embedder, Decoder())  # type: ignore[arg-type]
        return embedder

    def load(self, asked: Sequence[UUID]) -> list[LoadedModel]:
        if any(each not in self.known for each in asked):
            raise BadCheckpoint("The weights do not fit their card.")
        return [self.known[each] for each in asked]


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def line(models: Models) -> EmbeddingLine:
    return EmbeddingLine(transaction, models, Leases(transaction, "tester", 60), settings())


@pytest.fixture
def reindexing(models: Models) -> ReindexLine:
    return ReindexLine(transaction, blobs(), models, compare_models, settings())


@pytest.fixture
def active(models: Models) -> ModelVersion:
    return make_version(models, active=True)


def make_version(models: Models, *, active: bool = False, dim: int = DIM, noise: float = 0.05) -> ModelVersion:
    with transaction() as session:
        start = session.execute(text("SELECT count(*) FROM model_version")).scalar_one()
        version = Factory(session, start=start).version(active=active, dim=dim)
    models.add(version, noise=noise)
    return version


def upload(line: EmbeddingLine, count: int, *, labelled: bool = True, embed: bool = True) -> list[UUID]:
    """New pictures through the ledger, embedded with whatever is kept."""
    with transaction() as session:
        start = session.execute(text("SELECT 100 + count(*) FROM image")).scalar_one()
        make, added = Factory(session, start=start), []
        job = make.job()
        for number in range(start + 1, start + 1 + count):
            label = f"kind {number % KINDS}" if labelled else None
            added.append(make.image(label=label))
            session.execute(
                text(
                    "INSERT INTO job_item (job_id, image_id, queue, state) VALUES (:job, :image, 'single', 'pending')"
                ),
                {"job": job, "image": added[-1]},
            )
    if embed:
        line.embed_items([Queue.SINGLE])
    return added


def begin(version: ModelVersion | None = None, **options: object) -> UUID:
    options = {"mode": ReindexMode.EMBEDDINGS, "version_id": version and version.id, **options}
    return begin_reindex(transaction, Silent(), **options)  # type: ignore[arg-type]


def run(reindexing: ReindexLine, line: EmbeddingLine) -> None:
    """As a worker does when it is rung for."""
    reindexing.run()
    line.embed_items([Queue.SINGLE, Queue.BULK, Queue.REINDEX])
    reindexing.run()


def reindex_of(job_id: UUID) -> Reindex:
    with transaction() as session:
        return reindexes.list_reindexes(session, [job_id])[job_id]


def state(version: ModelVersion) -> str:
    with transaction() as session:
        return versions.get_version(session, version.id).state


def embedded(version: ModelVersion) -> set[UUID]:
    with transaction() as session:
        statement = text("SELECT image_id FROM embedding WHERE model_version_id = :id")
        return set(session.scalars(statement, {"id": version.id}))


def status(job_id: UUID) -> tuple[str, int, int]:
    with transaction() as session:
        job = jobs.get_job(session, job_id)
        return job.status, job.total, job.indexed


def test_a_better_model_takes_over_with_all_pictures(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    pictures = upload(line, 40)
    other = make_version(models, dim=16)
    job_id = begin(other, activate=True)
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    assert (report["gate"], report["switched"]) == ({"passed": True, "max_drop": 0, "reasons": []}, True)
    assert report["judged"]["metrics"]["r_at_1"] == {"active": 1.0, "candidate": 1.0, "low": 0.0, "high": 0.0}
    assert report["overlap_at_10"] > 0.9
    assert status(job_id) == ("succeeded", 40, 40)
    assert (state(active), state(other)) == (ModelState.READY, ModelState.ACTIVE)
    assert embedded(active) == embedded(other) == set(pictures)


def test_pictures_that_come_meanwhile_and_after_are_embedded_with_both(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
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
    models: Models, line: EmbeddingLine, active: ModelVersion
) -> None:
    [picture] = upload(line, 1, embed=False)
    batch = line._forward(line._decode(line._claim_from([Queue.SINGLE], claims.claim_items)))  # type: ignore[arg-type]
    other = make_version(models)
    with transaction() as session:
        versions.change_version(session, other.id, state=ModelState.BACKFILLING)
    assert line._store(batch) == 1
    assert embedded(active) == embedded(other) == {picture}


def test_a_worse_model_stops_before_the_gate_and_can_still_be_activated_by_hand(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    upload(line, 40)
    bad = make_version(models, noise=30)
    job_id = begin(bad, activate=True, max_drop=0.05)
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    assert (report["gate"]["passed"], report["switched"]) == (False, False)
    assert "R@1 falls from 1.000 to" in report["gate"]["reasons"][0]
    assert (status(job_id)[0], state(active), state(bad)) == ("succeeded", ModelState.ACTIVE, ModelState.READY)
    assert lifecycle.activate(transaction, bad.id).state == ModelState.ACTIVE


def test_without_labels_nothing_says_how_good_it_is_so_it_does_not_switch(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    upload(line, 30, labelled=False)
    other = make_version(models)
    job_id = begin(other, activate=True)
    run(reindexing, line)
    assert "labelled pictures" in reindex_of(job_id).report["gate"]["reasons"][0]  # type: ignore[index]
    assert state(other) == ModelState.READY


def test_it_is_not_judged_on_pictures_that_it_has_learnt_from(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    pictures = upload(line, 60)
    other = make_version(models)
    with transaction() as session:
        learnt = session.scalars(text("SELECT encode(sha256, 'hex') FROM image ORDER BY id LIMIT 30")).all()
    split = ",".join(f'{{"sha256": "{sha256}", "role": "train"}}' for sha256 in learnt)
    blobs().put(checkpoints.split_key(other.weights_sha256), f'{{"pictures": [{split}]}}'.encode())
    job_id = begin(other)
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    assert (report["learnt_from"], report["judged"]["queries"]) == (30, len(pictures) - 30)


def test_what_the_active_one_has_learnt_from_does_not_flatter_it_while_enough_is_left(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    upload(line, 60)
    for learnt, judged, flattered in ((30, 30, False), (50, 60, True)):
        with transaction() as session:
            known = session.scalars(text("SELECT encode(sha256, 'hex') FROM image ORDER BY id LIMIT :n"), {"n": learnt})
            split = [{"sha256": "00", "gallery_sha256": sha256, "role": "train"} for sha256 in known]
        blobs().put(checkpoints.split_key(active.weights_sha256), json.dumps({"pictures": split}).encode())
        job_id = begin(make_version(models))
        run(reindexing, line)
        report = reindex_of(job_id).report
        assert report is not None
        assert (report["judged"]["queries"], report["flattered"], report["learnt_from"]) == (judged, flattered, None)


def test_one_runs_at_a_time(models: Models, active: ModelVersion) -> None:
    job_id = begin(make_version(models))
    with pytest.raises(Conflict, match=str(job_id)):
        begin(make_version(models))
    with pytest.raises(Conflict, match=str(job_id)):
        begin(mode=ReindexMode.INDEX)


def test_what_cannot_be_reindexed_is_told(models: Models, active: ModelVersion) -> None:
    with pytest.raises(Conflict, match="register another"):
        begin()
    with pytest.raises(Conflict, match="is active"):
        begin(active)
    with pytest.raises(NotFound):
        begin_reindex(transaction, Silent(), mode=ReindexMode.EMBEDDINGS, version_id=UUID(int=7))  # type: ignore[arg-type]


def test_a_model_that_cannot_be_loaded_fails_its_reindex_and_holds_up_nobody(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    broken = make_version(models)
    del models.known[broken.id]
    job_id = begin(broken)
    reindexing.run()
    assert (status(job_id)[0], state(broken)) == ("failed", ModelState.REGISTERED)
    assert len(upload(line, 2)) == len(embedded(active)) == 2


@pytest.mark.parametrize("phase", ["listing", "embedding", "indexing", "evaluating", "switching"])
def test_cancelled_in_any_phase_another_goes_on_from_there(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion, phase: str
) -> None:
    upload(line, 12)
    other = make_version(models)
    job_id = begin(other, activate=True)
    while reindex_of(job_id).phase != phase:
        if reindex_of(job_id).phase == ReindexPhase.EMBEDDING:
            line.embed_items([Queue.REINDEX])
        reindexing._step()
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


def test_paused_it_waits(models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion) -> None:
    upload(line, 4)
    job_id = begin(make_version(models))
    reindexing.run()
    job_actions.pause_job(transaction, job_id)
    run(reindexing, line)
    assert status(job_id) == ("queued", 4, 0)
    job_actions.resume_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    run(reindexing, line)
    assert status(job_id) == ("succeeded", 4, 4)


def test_a_picture_that_fails_keeps_the_switch_from_losing_it(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    pictures = upload(line, 40)
    other = make_version(models)
    job_id = begin(other, activate=True)
    reindexing.run()
    with transaction() as session:
        session.execute(
            text("""
                UPDATE job_item SET state = 'failed', error_code = 'blob_missing' WHERE image_id = :id AND job_id = :job
            """),
            {"id": pictures[0], "job": job_id},
        )
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    assert (report["missing"], report["switched"], status(job_id)[0]) == (1, False, "partial")
    with pytest.raises(Conflict, match="lacks 1 pictures"):
        lifecycle.activate(transaction, other.id)
    job_actions.retry_job(transaction, Silent(), job_id)  # type: ignore[arg-type]
    line.embed_items([Queue.REINDEX])
    assert lifecycle.activate(transaction, other.id).state == ModelState.ACTIVE


def test_going_back_is_instant_and_loses_nothing(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
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
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    upload(line, 40)
    second, third = make_version(models), make_version(models)
    for version in (second, third):
        begin(version, activate=True)
        run(reindexing, line)
    upload(line, 1)
    assert (state(active), state(second), state(third)) == (ModelState.REGISTERED, ModelState.READY, ModelState.ACTIVE)
    assert [len(embedded(version)) for version in (active, second, third)] == [40, 41, 41]


def test_what_is_retired_goes_beside_searches_and_can_come_back(
    models: Models, line: EmbeddingLine, active: ModelVersion
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
        candidate = registration.Candidate(b"", b"", other.name, "none", DIM, other.weights_sha256, "none", {})
        assert registration.register(session, blobs(), candidate).state == ModelState.REGISTERED
    begin(other)


def test_the_active_index_is_built_anew_beside_the_old_one(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    upload(line, 30)
    job_id = begin(mode=ReindexMode.INDEX, hnsw=Hnsw(8, 40))
    reindexing._step()  # measured
    with transaction() as session:
        assert partitions.has_index(session, active.id)
    reindexing.run()
    report = reindex_of(job_id).report
    assert report is not None
    assert [(report[when]["m"], report[when]["ef_construction"]) for when in ("before", "after")] == [
        (24, 128),
        (8, 40),
    ]
    assert report["after"]["recall_at_10"] > 0.9
    with transaction() as session:
        found = partitions.find_index_state(session, active.id)
        names = session.scalars(text("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'embedding_%hnsw%'")).all()
    assert found is not None
    assert (found.valid, found.hnsw, len(names)) == (True, Hnsw(8, 40), 1)
    assert "m='8'" in names[0]
    assert status(job_id)[0] == "succeeded"


def test_a_rebuild_that_was_cancelled_leaves_no_second_index(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    upload(line, 3)
    job_id = begin(mode=ReindexMode.INDEX)
    reindexing._step()
    found = reindex_of(job_id)
    job_actions.cancel_job(transaction, job_id)
    with transaction() as session:
        job, version = jobs.get_job(session, job_id), versions.get_version(session, active.id)
    reindexing._build(found, job, version)
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%rebuilt'")) == 0
        assert partitions.has_index(session, active.id)


def test_the_sweep_rings_for_what_a_worker_left(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    assert Queue.REINDEX not in sweep(transaction, Silent(), settings())  # type: ignore[arg-type]
    begin(make_version(models))
    assert Queue.REINDEX in sweep(transaction, Silent(), settings())  # type: ignore[arg-type]
    run(reindexing, line)
    assert Queue.REINDEX not in sweep(transaction, Silent(), settings())  # type: ignore[arg-type]


def test_a_search_under_way_ends_with_the_version_it_began_with(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    pictures = upload(line, 40)
    other = make_version(models, dim=16)
    begin(other, activate=True)
    query, key = models.known[active.id].embedder.embed([np.array([[[101]]])])[0], VersionKey(active.id, active.dim)  # type: ignore[list-item]
    run(reindexing, line)
    with transaction() as session:
        found = nearest_images(session, query, version=key, k=1, scope=Scope())
    assert [match.image_id for match in found.matches] == [pictures[0]]


def test_items_of_a_reindex_do_not_count_as_a_pictures_own(
    models: Models, line: EmbeddingLine, reindexing: ReindexLine, active: ModelVersion
) -> None:
    from umbel.gallery import images  # noqa: PLC0415
    from umbel.jobs import items  # noqa: PLC0415

    [picture] = upload(line, 1)
    with transaction() as session:
        own = items.find_job_of_image(session, picture)
    begin(make_version(models))
    reindexing.run()
    with transaction() as session:
        assert items.find_job_of_image(session, picture) == own
        assert images.get_image(session, picture).status == ItemState.INDEXED


def test_searches_do_not_wait_for_a_partition_that_comes(
    models: Models, line: EmbeddingLine, active: ModelVersion
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
