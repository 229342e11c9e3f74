"""The index of the active version, built anew."""

from uuid import UUID

import pytest
from sqlalchemy import text

from tests.integration.reindex.gallery import Models, begin, reindex_of, status, upload
from umbel.base.database import transaction
from umbel.base.tables import ModelVersion
from umbel.base.types import IndexKind, ReindexMode
from umbel.embedding import embeddings
from umbel.embedding.embedding import EmbeddingHandler
from umbel.jobs import jobs
from umbel.models import partitions, versions
from umbel.models.partitions import Hnsw
from umbel.operations import job_actions
from umbel.reindex.run import ReindexHandler
from umbel.search.nearest import Scope, nearest_images
from umbel.search.recall import sample_images

pytestmark = pytest.mark.usefixtures("database")


def test_the_active_index_is_built_anew_beside_the_old_one(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 30)
    job_id = begin(mode=ReindexMode.INDEX, hnsw=Hnsw(8, 40))
    reindexing.step()  # measured
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


def test_the_kind_changes_and_back_while_searches_go_on(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 30)
    with transaction() as session:
        [(image_id, vector)] = embeddings.find_vectors(session, active.id, sample_images(session, active.id, 1)).items()

    def search() -> tuple[str | None, UUID, int]:
        scans = text("SELECT pg_stat_get_xact_numscans(CAST(:name AS regclass))")
        with transaction() as session:
            before = session.execute(scans, name).scalar_one()
            found = nearest_images(session, vector, k=3, scope=Scope(), only_ef=40)
            return found.mode, found.matches[0].image_id, session.execute(scans, name).scalar_one() - before

    name = {"name": partitions.index_name(active.id)}
    for kind, operators in ((IndexKind.BITS, "bit_hamming_ops"), (IndexKind.HALFVEC, "halfvec_cosine_ops")):
        job_id = begin(mode=ReindexMode.INDEX, hnsw=Hnsw(kind=kind))
        while reindexing.step():
            assert search() == ("hnsw", image_id, 1)
        assert search() == ("hnsw", image_id, 1)
        report = reindex_of(job_id).report
        assert report is not None
        assert (report["before"]["kind"] == kind, report["after"]["kind"] == kind) == (False, True)
        assert report["after"]["recall_at_10"] > 0.9
        with transaction() as session:
            built = session.scalar(text("SELECT indexdef FROM pg_indexes WHERE indexname = :name"), name)
        assert operators in str(built)


def test_an_index_of_bits_that_finds_too_little_is_not_kept(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 300)
    with transaction() as session:  # all numbers positive, so that their signs say nothing
        all_ones = {"ones": f"[{','.join(['1'] * active.dim)}]"}
        session.execute(text("UPDATE embedding SET vector = l2_normalize(vector + CAST(:ones AS halfvec))"), all_ones)
    job_id = begin(mode=ReindexMode.INDEX, hnsw=Hnsw(kind=IndexKind.BITS), max_drop=0.05)
    reindexing.run()
    report = reindex_of(job_id).report
    assert report is not None
    assert report["after"]["recall_at_10"] < report["before"]["recall_at_10"] - 0.05
    assert (report["switched"], report["gate"]["passed"], len(report["gate"]["reasons"])) == (False, False, 1)
    with transaction() as session:
        found = partitions.find_index_state(session, active.id)
        names = session.scalars(text("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'embedding_%hnsw%'")).all()
    assert found is not None
    assert (found.valid, found.hnsw, len(names)) == (True, Hnsw(), 1)
    assert "halfvec_cosine_ops" in names[0]
    allowed = begin(mode=ReindexMode.INDEX, hnsw=Hnsw(kind=IndexKind.BITS), max_drop=1)
    reindexing.run()
    assert (reindex_of(allowed).report or {})["switched"]
    with transaction() as session:
        found = partitions.find_index_state(session, active.id)
    assert found is not None
    assert (found.valid, found.hnsw.kind) == (True, IndexKind.BITS)


def test_what_is_embedded_anew_keeps_the_kind_of_index(models: Models, active: ModelVersion) -> None:
    with transaction() as session:
        version = versions.get_version(session, active.id)
        version.hnsw_kind = IndexKind.BITS
        assert versions.insert_next_generation(session, version).hnsw_kind == IndexKind.BITS


def test_a_rebuild_that_was_cancelled_leaves_no_second_index(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 3)
    job_id = begin(mode=ReindexMode.INDEX)
    reindexing.step()
    found = reindex_of(job_id)
    job_actions.cancel_job(transaction, job_id)
    with transaction() as session:
        job, version = jobs.get_job(session, job_id), versions.get_version(session, active.id)
    reindexing._build(found, job, version)
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%rebuilt'")) == 0
        assert partitions.has_index(session, active.id)
