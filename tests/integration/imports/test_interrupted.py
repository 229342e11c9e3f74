"""Imports while a database, a store or a source is away, and while another worker reads the same."""

import math
from collections.abc import Callable
from functools import partial
from itertools import count
from threading import Event, Lock
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.images import image_bytes
from tests.integration.imports.archives import counts, expire_leases, imported, job, zipped
from umbel.base.blobs import Blobs
from umbel.base.database import transaction
from umbel.base.errors import NotReady, SourceError, StorageFull, TransientError, UmbelError
from umbel.base.settings import settings
from umbel.imports import fetching, listing, reading
from umbel.imports.fetching import FetchingHandler
from umbel.imports.sources.web import Web

pytestmark = pytest.mark.usefixtures("database", "redis")


def test_listing_goes_on_where_it_was_interrupted(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK", 3)
    images = {f"{n:02}.jpg": image_bytes(n) for n in range(10)}
    job_id = imported(api, zipped(**images))
    claim = FetchingHandler._claim
    calls = iter(range(2))

    def interrupted(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise NotReady("The database went away.")
        return claim(*arguments)

    monkeypatch.setattr(FetchingHandler, "_claim", interrupted)
    with pytest.raises(NotReady):
        fetch()
    before = job(api, job_id)["counts"]["total"]
    monkeypatch.setattr(FetchingHandler, "_claim", claim)
    fetch()
    names = [item["name"] for item in api.get(f"/v1/jobs/{job_id}/items").get_json()["items"]]
    assert (before, sorted(names), counts(api, job_id)) == (9, sorted(images), {"pending": 10})


def test_the_next_pictures_are_read_while_the_last_are_stored(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FIRST_CHUNK", 2)
    read, reads, third = reading._read, count(1), Event()

    def counted(*arguments: Any, **options: Any) -> Any:
        if next(reads) == 3:
            third.set()
        return read(*arguments, **options)

    class Waiting(Blobs):
        def put(self, key: str, data: bytes) -> None:
            assert third.wait(30), "Nothing was read meanwhile."
            super().put(key, data)

    monkeypatch.setattr(reading, "_read", counted)
    job_id = imported(api, zipped(**{f"{n}.jpg": image_bytes(n) for n in range(4)}))
    fetch(Waiting(settings().blobs))
    assert counts(api, job_id) == {"pending": 4}


class FullBlobs(Blobs):
    """A store that is full until it is emptied."""

    full = True

    def put(self, key: str, data: bytes) -> None:
        if self.full:
            raise StorageFull("The blob store is full.")
        super().put(key, data)


def test_a_full_store_costs_no_item_and_no_attempt(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    store = FullBlobs(settings().blobs)
    for _ in range(4):  # more often than there are attempts
        fetch(store)
        expire_leases()
    full = counts(api, job_id)
    store.full = False
    fetch(store)
    assert (full, counts(api, job_id)) == ({"pending": 1}, {"pending": 1})
    assert len(api.get("/v1/images").get_json()["items"]) == 1


NOWHERE = "http://127.0.0.1:9"  # the discard port, on which nothing listens


def test_a_url_that_nobody_serves_is_tried_at_growing_intervals_and_fails_in_the_end(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.imports.sources.Web", partial(Web, allowed=lambda _: True))
    job_id = imported(api, f"url,label\n{NOWHERE}/a.jpg,rose\n".encode(), "list.csv")
    delays = []
    for _ in range(5):
        fetch(config=settings().model_copy(update={"import_urls": True, "url_tries": 5}))
        with transaction() as session:
            seconds = "SELECT attempts, extract(epoch FROM lease_until - now())::float FROM job_item"
            attempts, delay = session.execute(text(seconds)).one()
        delays.append((attempts, delay and 2 ** round(math.log2(delay))))
        expire_leases()
    assert delays == [(0, 2), (0, 4), (0, 8), (0, 16), (1, None)]
    (item,) = api.get(f"/v1/jobs/{job_id}/items").get_json()["items"]
    assert (item["status"], item["error_code"]) == ("failed", "unreachable")


class AbsentBlobs(Blobs):
    """A store that gives an archive's directory, which is at its end, and no entry at its beginning."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 1000:
            raise TransientError("The blob store does not answer.")
        return super().get_range(key, start, length)


def test_an_outage_of_our_own_store_fails_no_item(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1), "long.txt": bytes(2**20)}))
    for _ in range(2 * settings().url_tries):
        fetch(AbsentBlobs(settings().blobs))
        expire_leases()
    during = counts(api, job_id)
    fetch()
    assert (during, counts(api, job_id)) == ({"pending": 1}, {"pending": 1})
    assert len(api.get("/v1/images").get_json()["items"]) == 1


class SlowBlobs(Blobs):
    """A store that gives nothing until all leases have ended, and another worker has read what they were on."""

    other: Callable[[], None]
    error: UmbelError | None = None
    lock = Lock()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self.lock:
            overtaken = expire_leases()
            if overtaken:
                self.other()
        if overtaken and self.error:
            raise self.error
        return super().get_range(key, start, length)


@pytest.mark.parametrize("error", [None, SourceError("It is gone."), TransientError("It does not answer.")])
def test_what_another_worker_has_read_meanwhile_stays_as_that_one_left_it(
    api: FlaskClient, fetch: Any, error: UmbelError | None
) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1), "b.jpg": image_bytes(2)}))
    store = SlowBlobs(settings().blobs)
    store.other, store.error = fetch, error
    fetch(store)
    with transaction() as session:
        found = session.execute(text("SELECT DISTINCT queue, lease_until, attempts FROM job_item")).all()
    assert (counts(api, job_id), found) == ({"pending": 2}, [("bulk", None, 0)])
