"""Whether a new model takes over: how it is judged, and on which pictures."""

import json
from collections import Counter

import pytest
from sqlalchemy import text

from tests.integration.reindex.gallery import (
    Models,
    begin,
    embedded,
    make_version,
    reindex_of,
    run,
    state,
    status,
    upload,
)
from tests.integration.scene import Silent
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import Conflict
from umbel.base.tables import ModelVersion
from umbel.base.types import ModelState, Queue
from umbel.embedding.embedding import EmbeddingHandler
from umbel.models import checkpoints, lifecycle
from umbel.operations import job_actions
from umbel.reindex.labelled_sample import sample_labelled
from umbel.reindex.run import ReindexHandler

SEEDS = (1, 4)  # of which the second model is a little worse, by chance

pytestmark = pytest.mark.usefixtures("database")


def test_a_better_model_takes_over_with_all_pictures(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
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


def test_a_worse_model_stops_before_the_gate_and_can_still_be_activated_by_hand(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 40)
    bad = make_version(models, noise=30)
    job_id = begin(bad, activate=True, max_drop=0.05)
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    assert (report["gate"]["passed"], report["switched"]) == (False, False)
    reason = report["gate"]["reasons"][0]
    assert reason.startswith("R@1 fell by 0.")
    assert reason.endswith("with 95 % certainty), more than the 0.05 allowed.")
    assert report["findings"][0].endswith("with 95 % certainty).")
    assert (status(job_id)[0], state(active), state(bad)) == ("succeeded", ModelState.ACTIVE, ModelState.READY)
    assert lifecycle.activate(transaction, bad.id).state == ModelState.ACTIVE


def test_a_drop_that_chance_may_have_made_passes_a_gate_that_allows_none(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler
) -> None:
    make_version(models, active=True, noise=1.5, seed=SEEDS[0])
    other = make_version(models, noise=1.5, seed=SEEDS[1])
    upload(line, 48)
    job_id = begin(other, activate=True)
    run(reindexing, line)
    report = reindex_of(job_id).report
    assert report is not None
    figures = report["judged"]["metrics"].values()
    assert all(one["low"] < one["candidate"] - one["active"] < 0 < one["high"] for one in figures), (
        "as the test is made"
    )
    assert (report["gate"]["reasons"], report["switched"]) == ([], True)
    assert all("did not change by more than chance may" in found for found in report["findings"])


def test_whole_classes_are_judged_where_not_all_images_fit(models: Models, line: EmbeddingHandler) -> None:
    active, other = make_version(models, active=True), make_version(models)
    upload(line, 40)
    with transaction() as session:
        session.execute(text("UPDATE image SET label = 'pair ' || n / 2 FROM (SELECT id, row_number() OVER () - 1 AS n"
                             " FROM image) numbered WHERE numbered.id = image.id"))  # fmt: skip
        session.execute(text("""
            INSERT INTO embedding (image_id, collection_id, model_version_id, vector)
            SELECT image_id, collection_id, :other, vector FROM embedding WHERE model_version_id = :active
        """), {"active": active.id, "other": other.id})  # fmt: skip
        drawn = [
            sample_labelled(session, active=active.id, candidate=other.id, without=[], most=most, most_of_class=each)
            for most, each in ((10, 5), (10, 1), (40, 1))
        ]
    sizes = [sorted(Counter(one.group for one in sample.images).values()) for sample in drawn]
    assert sizes == [[2] * 5, [1] * 10, [2] * 20], "whole classes, bounded ones, and all where all fit"
    assert [sample.classes for sample in drawn] == [20, 20, 20]


def test_without_labels_nothing_says_how_good_it_is_so_it_does_not_switch(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
) -> None:
    upload(line, 30, labelled=False)
    other = make_version(models)
    job_id = begin(other, activate=True)
    run(reindexing, line)
    assert "labelled pictures" in reindex_of(job_id).report["gate"]["reasons"][0]  # type: ignore[index]
    assert state(other) == ModelState.READY


def test_it_is_not_judged_on_pictures_that_it_has_learnt_from(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
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
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
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


def test_a_picture_that_fails_keeps_the_switch_from_losing_it(
    models: Models, line: EmbeddingHandler, reindexing: ReindexHandler, active: ModelVersion
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
    line.run([Queue.REINDEX])
    assert lifecycle.activate(transaction, other.id).state == ModelState.ACTIVE
