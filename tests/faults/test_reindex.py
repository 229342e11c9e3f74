"""A reindex on the real stack whose worker, API and scheduler are killed at every phase; searches never stop."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from umbel_client import ApiError, UmbelClientError

from garden import draw_specimen
from tests.checkpoints import variant
from tests.faults.target import Target
from tests.processes import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(480)]

IMAGES, KINDS = 60, 3
PHASES = ("embedding", "indexing", "evaluating", "switching", "done")


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    made = Target()
    try:
        made.up()
        with made.client() as api:
            job = api.imports.open()
            for number in range(IMAGES):
                kind = number % KINDS
                api.images.upload(flower(kind, number), label=f"kind {kind}", job_id=job)
            api.jobs.close(job)
            assert api.jobs.get(job, wait=90).status == "succeeded"
        yield made
    finally:
        made.remove()


def flower(kind: int, number: int) -> bytes:
    out = io.BytesIO()
    draw_specimen(5, kind, number, size=112).save(out, "JPEG", quality=88)
    return out.getvalue()


class Searcher(threading.Thread):
    """Asks the database again and again what is near a picture, by the version that is active at that moment."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self._target, self._over = target, threading.Event()
        self.answers: list[tuple[UUID, int]] = []
        self.failures: list[str] = []

    def run(self) -> None:
        with self._target.ledger(autocommit=True) as connection:
            while not self._over.wait(0.02):
                try:
                    self.answers.append(_search(connection))
                except Exception as error:
                    self.failures.append(repr(error))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _search(connection: "psycopg.Connection[Any]") -> tuple[UUID, int]:
    """The active version, and how many of the ten nearest it found."""
    [[version, dim]] = connection.execute("SELECT id, dim FROM model_version WHERE state = 'active'").fetchall()
    found = connection.execute(f"""
        SELECT image_id FROM embedding WHERE model_version_id = '{version}'
        ORDER BY vector::halfvec({dim}) <=> (
            SELECT vector::halfvec({dim}) FROM embedding WHERE model_version_id = '{version}' LIMIT 1)
        LIMIT 10
    """).fetchall()
    return version, len(found)


def register(target: Target, checkpoint: Path) -> UUID:
    with checkpoint.open("rb") as weights, checkpoint.with_suffix(".json").open("rb") as card:
        answer = httpx.post(f"{target.url}/v1/models", files={"weights": weights, "card": card}, timeout=60)
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"])


def phase(target: Target) -> str:
    with target.ledger() as connection:
        row = connection.execute("SELECT phase FROM reindex ORDER BY job_id DESC LIMIT 1").fetchone()
    return row[0] if row else ""


def states(target: Target) -> dict[str, str]:
    with target.ledger() as connection:
        return dict(connection.execute("SELECT name, state FROM model_version").fetchall())


def lacking(target: Target) -> int:
    """Pictures that are not embedded by both of two versions."""
    with target.ledger() as connection:
        statement = "SELECT count(*) FROM (SELECT FROM embedding GROUP BY image_id HAVING count(*) <> 2) bare"
        [[found]] = connection.execute(statement).fetchall()
        return int(found)


def test_killed_at_every_phase_it_comes_to_its_end_while_searches_go_on(target: Target, tmp_path: Path) -> None:
    other = register(target, variant(tmp_path / "other.safetensors"))
    searcher = Searcher(target)
    searcher.start()
    body = {"model_version": str(other), "activate": True, "max_drop": 1}
    job_id = UUID(httpx.post(f"{target.url}/v1/admin/reindex", json=body, timeout=60).json()["job_id"])
    reached: list[str] = []
    for boundary in PHASES:
        now = eventually(lambda at=boundary: phase(target) if _has_reached(target, at) else "", within=90, every=0.01)
        reached.append(now)
        for name in ("worker", "api", "scheduler"):
            target.process(name).kill()
    eventually(lambda: _served(target), within=60)
    with target.client() as api:
        added = api.images.upload(flower(0, IMAGES), label="kind 0")
        assert api.jobs.get(added.job_id, wait=60).status == "succeeded"  # type: ignore[arg-type]
        assert api.jobs.get(job_id, wait=60).status == "succeeded"
    searcher.stop()
    assert reached[-1] == "done"
    assert searcher.failures == []
    assert {found for _, found in searcher.answers} == {10}
    assert len({version for version, _ in searcher.answers}) == 2
    assert states(target) == {"umbel-b0": "ready", "other": "active"}
    assert lacking(target) == 0


def test_a_bad_checkpoint_stops_before_the_gate_and_says_why(target: Target, tmp_path: Path) -> None:
    active = next(name for name, state in states(target).items() if state == "active")
    bad = register(target, variant(tmp_path / "bad.safetensors", noise=0.5))
    body = {"model_version": str(bad), "activate": True}
    job_id = httpx.post(f"{target.url}/v1/admin/reindex", json=body, timeout=60).json()["job_id"]
    with target.client() as api:
        assert api.jobs.get(UUID(job_id), wait=120).status == "succeeded"
    report = httpx.get(f"{target.url}/v1/jobs/{job_id}", timeout=60).json()["reindex"]["report"]
    assert (report["gate"]["passed"], report["switched"]) == (False, False)
    assert report["gate"]["reasons"][0].startswith("R@1 fell by")
    assert (states(target)[active], states(target)["bad"]) == ("active", "ready")


def _has_reached(target: Target, boundary: str) -> bool:
    order = ("listing", *PHASES)
    now = phase(target)
    return bool(now) and order.index(now) >= order.index(boundary)


def _served(target: Target) -> bool:
    try:
        with target.client() as api:
            return api.ready().ready
    except (ApiError, UmbelClientError):
        return False
