"""Pictures of an import that the process which has read them embeds, without reading or decoding them once more."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.factory import DIM, unit
from tests.integration.imports.archives import counts, expire_leases, imported, zipped
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import LoadedModel, Pixels, Queue, Vectors
from umbel.embedding import handoff as module
from umbel.embedding.embedding import EmbeddingHandler
from umbel.embedding.handoff import Handoff
from umbel.jobs import claims
from umbel.jobs.leases import Leases
from umbel.models import versions
from worker.decoders import WorkerDecoders
from worker.models import OneModel

pytestmark = pytest.mark.usefixtures("database", "redis")

TWO = {"a.jpg": image_bytes(1), "b.jpg": image_bytes(2)}


class Visits:
    """A decoder that remembers what it was asked for."""

    def __init__(self, decoder: WorkerDecoders) -> None:
        self.decoder, self.asked = decoder, list[str]()

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self.decoder, name)


class Model:
    weights_sha256, dim, device, description, batch_size = "0" * 64, DIM, "cpu", "made up", 8

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        return np.stack([unit(int(each.sum())) for each in pixels])


@pytest.fixture
def visits(decoder: WorkerDecoders) -> Visits:
    return Visits(decoder)


@pytest.fixture
def handoff(api: FlaskClient, visits: Visits) -> Handoff:
    return Handoff(Leases(transaction, "me", 60), lambda: None, visits)  # type: ignore[arg-type]


@pytest.fixture
def embed(handoff: Handoff, visits: Visits) -> Callable[..., int]:
    with transaction() as session:
        version = versions.get_active_key(session).id

    def run(stopping: Callable[[], bool] = lambda: False) -> int:
        return EmbeddingHandler(
            transaction=transaction,
            settings=settings(),
            leases=handoff.leases,
            models=OneModel(LoadedModel(version, Model(), visits)),  # type: ignore[arg-type]
            handoff=handoff,
            stopping=stopping,
        ).run([Queue.SINGLE, Queue.BULK])

    return run


def claimable() -> list[int]:
    """Attempts of what a worker finds in the queue."""
    with transaction() as session:
        options: dict[str, Any] = {"owner": "another", "limit": 9, "lease_seconds": 60}
        return [item.attempts for item in claims.claim_items(session, Queue.BULK, **options)]


def test_a_picture_visits_a_decoder_once(
    api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any, visits: Visits
) -> None:
    job_id = imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    assert embed() == 2
    assert (counts(api, job_id), visits.asked) == ({"indexed": 2}, ["inspect_and_decode"] * 2)


def test_it_is_seen_as_when_it_is_decoded_from_its_blob(
    api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any
) -> None:
    imported(api, zipped(**TWO), collection="first")
    fetch(handoff=handoff)
    embed()
    handoff.decoder = None
    imported(api, zipped(**TWO), collection="second")
    fetch(handoff=handoff)
    embed()
    with transaction() as session:
        assert session.scalars(text("SELECT count(*) FROM embedding GROUP BY vector")).all() == [2, 2]
        described = "SELECT count(*) FROM image GROUP BY media_type, width, height, note, sha256"
        assert session.scalars(text(described)).all() == [2, 2]


def test_what_is_there_already_visits_none(api: FlaskClient, fetch: Any, handoff: Handoff, visits: Visits) -> None:
    imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    visits.asked.clear()
    again = imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    assert (counts(api, again), visits.asked) == ({"duplicate": 2}, [])


def test_pixels_for_another_model_are_not_used(
    api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any, visits: Visits
) -> None:
    job_id = imported(api, zipped(**TWO))
    handoff.decoder = visits.decoder
    fetch(handoff=handoff)
    embed()
    assert (counts(api, job_id), visits.asked) == ({"indexed": 2}, ["decode"] * 2)


def test_without_room_others_may_embed_it(
    api: FlaskClient, fetch: Any, handoff: Handoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 200_000)  # a picture has 110,592
    imported(api, zipped(**TWO))
    woken: list[Queue] = []
    fetch(handoff=handoff, wake=woken.append)
    assert (len(handoff.take(9)), claimable(), woken) == (1, [1], [Queue.FETCH, Queue.BULK])


def test_what_a_stopping_process_has_not_taken_up_goes_back(
    api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any
) -> None:
    imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    assert claimable() == []
    embed(stopping=lambda: True)
    assert claimable() == [1, 1]


def test_what_is_lost_with_the_process_is_claimed_for_the_first_time_when_its_leases_have_ended(
    api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any
) -> None:
    imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    handoff.take(9)
    assert (embed(), expire_leases(), claimable()) == (0, 2, [1, 1])


def test_what_others_have_claimed_since_is_left_to_them(
    api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any, visits: Visits
) -> None:
    imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    expire_leases()
    assert (claimable(), embed()) == ([1, 1], 0)
    assert "decode" not in visits.asked


def test_a_paused_import_is_not_taken_up(api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any) -> None:
    job_id = imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    assert api.post(f"/v1/jobs/{job_id}/pause").status_code == 200
    assert embed() == 0
    assert counts(api, job_id) == {"pending": 2}


def test_of_a_cancelled_import_nothing_comes(api: FlaskClient, fetch: Any, handoff: Handoff, embed: Any) -> None:
    job_id = imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    assert api.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    embed()
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM embedding")) == 0
    assert counts(api, job_id) == {"cancelled": 2}


def test_readers_wait_until_the_model_wants_more(
    api: FlaskClient, fetch: Any, handoff: Handoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(api, zipped(**TWO))
    fetch(handoff=handoff)
    monkeypatch.setattr(module, "FULL", 1)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(handoff.wait_until_wanted, lambda: False)
        handoff.take(9)
        waiting.result(30)
