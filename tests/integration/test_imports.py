"""Imports that workers read themselves: listed, fetched and checked in this process, by the real API and stores."""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event, Lock
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.images import image_bytes
from tests.integration.factory import Factory
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.errors import NotReady, SourceError, StorageFull, TransientError, UmbelError
from umbel.base.settings import Settings, settings
from umbel.base.types import Queue
from umbel.gallery.intake import Intake
from umbel.imports import fetching, listing
from umbel.imports.fetching import FetchLine
from umbel.imports.sources.web import Web
from umbel.jobs import claims
from umbel.jobs.backpressure import Gate
from umbel.jobs.claims import ClaimedEntry, Leases
from umbel.operations import job_actions, maintenance
from worker.decoders import DecoderPool

pytestmark = pytest.mark.usefixtures("database", "redis")


@pytest.fixture
def api(api: FlaskClient) -> FlaskClient:
    """With an active model."""
    with transaction() as session:
        Factory(session).version()
    return api


@pytest.fixture
def fetch(decoder: DecoderPool) -> Iterator[Callable[..., None]]:
    """List and read all that there is to read, as a worker does."""
    with ThreadPoolExecutor(4) as readers:

        def run(store: Blobs | None = None, config: Settings | None = None) -> None:
            FetchLine(
                transaction,
                store or blobs(),
                decoder,
                config or settings(),
                Leases(transaction, "me", 60),
                readers=readers,
                wake=lambda _: None,
            ).run()

        yield run


def zipped(**images: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in images.items():
            archive.writestr(name, data)
    return out.getvalue()


def send(api: FlaskClient, data: bytes, name: str = "pictures.zip", **form: object) -> TestResponse:
    return api.post("/v1/imports", data={"file": (io.BytesIO(data), name), **form})


def imported(api: FlaskClient, data: bytes, name: str = "pictures.zip", **form: object) -> str:
    answer = send(api, data, name, **form)
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["job_id"])


def job(api: FlaskClient, job_id: str) -> dict[str, Any]:
    return dict(api.get(f"/v1/jobs/{job_id}").get_json())


def counts(api: FlaskClient, job_id: str) -> dict[str, int]:
    return {state: n for state, n in job(api, job_id)["counts"].items() if n and state != "total"}


def embed_all() -> None:
    """What the embedding line would do, without vectors."""
    with transaction() as session:
        session.execute(text("UPDATE job_item SET state = 'indexed', finished_at = now() WHERE state = 'pending'"))


def test_a_zip_becomes_images_with_labels_from_their_folders(api: FlaskClient, fetch: Any) -> None:
    data = zipped(**{"rose/a.jpg": image_bytes(1), "tulip/b.jpg": image_bytes(2), "readme.txt": b"no picture"})
    job_id = imported(api, data, label_from_folder="true")
    fetch()
    labels = {image["name"]: image["label"] for image in api.get("/v1/images").get_json()["items"]}
    assert labels == {"rose/a.jpg": "rose", "tulip/b.jpg": "tulip"}
    assert (counts(api, job_id), job(api, job_id)["source"]["skipped"]) == ({"pending": 2}, 1)


def test_what_was_fetched_waits_in_the_bulk_lane_with_fresh_attempts(api: FlaskClient, fetch: Any) -> None:
    imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch()
    with transaction() as session:
        (claimed,) = claims.claim_items(session, Queue.BULK, owner="me", limit=9, lease_seconds=60)
        assert (claimed.attempts, blobs().get(claimed.blob_key)) == (1, image_bytes(1))


def test_the_same_bytes_are_one_image_within_and_across_imports(api: FlaskClient, fetch: Any) -> None:
    first = imported(api, zipped(**{"a.jpg": image_bytes(1), "again.jpg": image_bytes(1), "b.jpg": image_bytes(2)}))
    fetch()
    embed_all()
    second = imported(api, zipped(**{"c.jpg": image_bytes(2), "d.jpg": image_bytes(3)}))
    fetch()
    assert (counts(api, first), counts(api, second)) == ({"indexed": 2, "duplicate": 1}, {"pending": 1, "duplicate": 1})
    assert len(api.get("/v1/images").get_json()["items"]) == 3


def test_an_image_whose_embedding_failed_is_taken_up_again(api: FlaskClient, fetch: Any) -> None:
    imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch()
    with transaction() as session:
        session.execute(text("UPDATE job_item SET state = 'failed', error_code = 'poison'"))
    again = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch()
    assert counts(api, again) == {"pending": 1}


def test_each_bad_entry_fails_with_its_own_reason_and_the_rest_is_imported(api: FlaskClient, fetch: Any) -> None:
    entries = {
        "good.jpg": image_bytes(1),
        "../slip.jpg": image_bytes(2),
        "cut.jpg": image_bytes(3)[:10],
        "inner.zip": zipped(),
    }
    job_id = imported(api, zipped(**entries, **{"text.jpg": b"not a picture at all"}))
    fetch()
    failed = api.get(f"/v1/jobs/{job_id}/items?status=failed").get_json()["items"]
    reasons = {item["name"]: item["error_code"] for item in failed}
    assert reasons == {
        "../slip.jpg": "unsafe_path",
        "cut.jpg": "corrupt_image",
        "inner.zip": "nested_archive",
        "text.jpg": "unsupported_image",
    }
    assert counts(api, job_id) == {"pending": 1, "failed": 4}


def test_failures_are_downloaded_as_csv_in_which_no_name_is_a_formula(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"=HYPERLINK(1).jpg": b"x" * 20, "good.jpg": image_bytes(1)}))
    fetch()
    answer = api.get(f"/v1/jobs/{job_id}/items.csv?status=failed")
    header, line = answer.text.splitlines()
    assert (answer.mimetype, header.split(",")[:3]) == ("text/csv", ["name", "status", "code"])
    assert line.startswith("'=HYPERLINK(1).jpg,failed,unsupported_image,")


def test_a_list_names_files_below_a_root_with_labels_and_metadata(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(image_bytes(1))
    use(monkeypatch, import_roots=(str(tmp_path),))
    rows = b"path,label,year\na.jpg,rose,2026\nmissing.jpg,rose,2026\n"
    job_id = imported(api, rows, "list.csv", base=str(tmp_path))
    fetch(config=settings().model_copy(update={"import_roots": (str(tmp_path),)}))
    (image,) = api.get("/v1/images").get_json()["items"]
    assert (image["label"], image["metadata"]) == ("rose", {"year": "2026"})
    assert counts(api, job_id) == {"pending": 1, "failed": 1}


def use(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Other settings for the routes of imports."""
    changed = settings().model_copy(update=values)
    monkeypatch.setattr("api.imports.settings", lambda: changed)


def test_a_folder_on_the_server_is_imported_only_below_a_root(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(image_bytes(1))
    source = {"source": {"type": "folder", "path": str(tmp_path / "in")}}
    rejected = api.post("/v1/imports", json=source)
    use(monkeypatch, import_roots=(str(tmp_path),))
    taken = api.post("/v1/imports", json=source)
    fetch(config=settings().model_copy(update={"import_roots": (str(tmp_path),)}))
    assert (rejected.status_code, rejected.get_json()["code"]) == (422, "source_error")
    assert counts(api, taken.get_json()["job_id"]) == {"pending": 1}


def test_a_dry_run_counts_and_imports_nothing(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(
        api, zipped(**{"a.jpg": image_bytes(1), "../b.jpg": image_bytes(2), "c.txt": b""}), dry_run="true"
    )
    fetch()
    seen = job(api, job_id)
    source = {key: seen["source"][key] for key in ("listed", "rejected", "skipped", "done")}
    assert source == {"listed": 2, "rejected": 1, "skipped": 1, "done": True}
    assert (seen["status"], seen["counts"]["total"], api.get("/v1/images").get_json()["items"]) == ("succeeded", 0, [])


def test_a_source_without_pictures_fails_and_says_so(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"notes.txt": b"none"}))
    fetch()
    seen = job(api, job_id)
    assert (seen["status"], "no picture" in seen["error"]) == ("failed", True)


def test_an_archive_that_was_cut_short_fails_and_says_so(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)})[:-30])
    fetch()
    seen = job(api, job_id)
    assert (seen["status"], seen["counts"]["total"], bool(seen["error"])) == ("failed", 0, True)


@pytest.mark.parametrize(
    ("data", "name", "status", "code"),
    [
        (b"not an archive, whatever its name", "a.zip", 415, "unsupported_archive"),
        (b"\x00\x01\x02", "list.csv", 415, "unsupported_manifest"),
    ],
)
def test_a_broken_upload_is_refused_and_leaves_nothing(
    api: FlaskClient, data: bytes, name: str, status: int, code: str
) -> None:
    answer = send(api, data, name)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    maintenance.clean_up(transaction, blobs(), settings())
    assert (list(blobs().list("imports")), api.get("/v1/jobs").get_json()["items"]) == ([], [])


def test_listing_goes_on_where_it_was_interrupted(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK", 3)
    images = {f"{n:02}.jpg": image_bytes(n) for n in range(10)}
    job_id = imported(api, zipped(**images))
    claim = FetchLine._claim
    calls = iter(range(2))

    def interrupted(line: FetchLine, limit: int) -> list[ClaimedEntry]:
        if next(calls, None) is None:
            raise NotReady("The database went away.")
        return claim(line, limit)

    monkeypatch.setattr(FetchLine, "_claim", interrupted)
    with pytest.raises(NotReady):
        fetch()
    before = job(api, job_id)["counts"]["total"]
    monkeypatch.setattr(FetchLine, "_claim", claim)
    fetch()
    names = [item["name"] for item in api.get(f"/v1/jobs/{job_id}/items").get_json()["items"]]
    assert (before, sorted(names), counts(api, job_id)) == (9, sorted(images), {"pending": 10})


def test_the_next_pictures_are_read_while_the_last_are_stored(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FIRST_CHUNK", 2)
    read, reads, third = FetchLine._read, count(1), Event()

    def counted(*arguments: Any) -> Any:
        if next(reads) == 3:
            third.set()
        return read(*arguments)

    class Waiting(Blobs):
        def put(self, key: str, data: bytes) -> None:
            assert third.wait(30), "Nothing was read meanwhile."
            super().put(key, data)

    monkeypatch.setattr(FetchLine, "_read", counted)
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


def expire_leases() -> int:
    """End those that are left. Returns how many."""
    ended = "UPDATE job_item SET lease_until = now() - interval '1 s' WHERE lease_until > now()"
    with transaction() as session:
        return session.execute(text(ended)).rowcount  # type: ignore[attr-defined]


NOWHERE = "http://127.0.0.1:9"  # the discard port, on which nothing listens


def test_a_source_that_cannot_be_reached_stops_no_other(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, import_roots=("s3://photos",))
    source = {"source": {"type": "s3", "url": "s3://photos/2024"}}
    unreachable = api.post("/v1/imports", json=source).get_json()["job_id"]
    reached = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    fetch(config=settings().model_copy(update={"import_roots": ("s3://photos",), "s3_endpoint": NOWHERE}))
    assert (counts(api, reached), job(api, unreachable)["status"]) == ({"pending": 1}, "queued")
    with transaction() as session:
        waits = session.execute(text("SELECT retries, next_try > now() FROM import_source WHERE NOT done")).one()
        assert (tuple(waits), maintenance.list_waiting_queues(session)) == ((1, True), [Queue.BULK])


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


def test_cancelling_ends_the_listing_and_what_was_listed(
    api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1), "b.jpg": image_bytes(2)}))
    monkeypatch.setattr(FetchLine, "_claim", lambda *_: [])
    fetch()
    answer = api.post(f"/v1/jobs/{job_id}/cancel")
    again = api.post(f"/v1/jobs/{job_id}/cancel")
    monkeypatch.undo()
    fetch()
    assert (answer.status_code, again.status_code) == (200, 200)
    seen = job(api, job_id)
    assert (seen["status"], counts(api, job_id), seen["source"]["done"]) == ("cancelled", {"cancelled": 2}, True)
    assert api.get("/v1/images").get_json()["items"] == []


def test_a_picture_whose_import_is_cancelled_while_it_is_read_leaves_neither_row_nor_bytes(
    api: FlaskClient, fetch: Any
) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))

    class Late(Blobs):
        def put(self, key: str, data: bytes) -> None:
            super().put(key, data)
            with ThreadPoolExecutor(1) as other:
                other.submit(lambda: job_actions.cancel_job(transaction, UUID(job_id))).result()

    fetch(Late(settings().blobs))
    with transaction() as session:
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.clean_up(transaction, blobs(), settings())
    assert counts(api, job_id) == {"cancelled": 1}
    assert (api.get("/v1/images").get_json()["items"], list(blobs().list("pictures"))) == ([], [])


def test_an_import_that_is_being_listed_cannot_be_sealed(api: FlaskClient) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    answer = api.post(f"/v1/jobs/{job_id}/close")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")


def test_a_finished_job_cannot_be_cancelled_or_paused(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch()
    embed_all()
    answers = [api.post(f"/v1/jobs/{job_id}/{verb}") for verb in ("cancel", "pause", "resume")]
    assert [answer.status_code for answer in answers] == [409, 409, 409]


def test_a_paused_job_waits_and_goes_on(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    paused = api.post(f"/v1/jobs/{job_id}/pause").get_json()
    fetch()
    while_paused = job(api, job_id)["counts"]["total"]
    resumed = api.post(f"/v1/jobs/{job_id}/resume").get_json()
    fetch()
    assert (paused["phase"], while_paused, resumed["phase"]) == ("paused", 0, "listing")
    assert counts(api, job_id) == {"pending": 1}


def test_a_retry_takes_up_what_failed_and_nothing_else(api: FlaskClient, fetch: Any, tmp_path: Path) -> None:
    job_id = imported(api, zipped(**{"good.jpg": image_bytes(1), "bad.jpg": b"bad"}))
    fetch()
    embed_all()
    before = job(api, job_id)
    after = api.post(f"/v1/jobs/{job_id}/retry").get_json()
    fetch()
    assert (before["status"], after["status"], after["attempts"]) == ("partial", "running", 2)
    assert (counts(api, job_id), job(api, job_id)["status"]) == ({"indexed": 1, "failed": 1}, "partial")


def test_an_uploaded_archive_goes_when_nobody_will_read_it_again(api: FlaskClient, fetch: Any) -> None:
    imported(api, zipped(**{"a.jpg": image_bytes(1)}))
    fetch()
    maintenance.clean_up(transaction, blobs(), settings())
    in_use = len(list(blobs().list("imports")))
    embed_all()
    maintenance.clean_up(transaction, blobs(), settings())
    with transaction() as session:
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))
    maintenance.clean_up(transaction, blobs(), settings())
    assert (in_use, list(blobs().list("imports"))) == (1, [])


def test_beyond_its_depth_the_queue_takes_no_more(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    shut = Gate(transaction, settings().model_copy(update={"max_pending": 1}))
    monkeypatch.setattr("api.images.gate", lambda: shut)
    first = api.post("/v1/images", data={"file": (io.BytesIO(image_bytes(1)), "a.jpg")})
    monkeypatch.setattr(shut, "_looked", float("-inf"))
    second = api.post("/v1/images", data={"file": (io.BytesIO(image_bytes(2)), "b.jpg")})
    assert (first.status_code, second.status_code, second.get_json()["code"]) == (202, 429, "queue_full")
    assert int(second.headers["Retry-After"]) > 0


def test_a_full_disk_takes_no_more_and_is_left_without_a_trace(
    api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Blobs(settings().blobs, min_free=2**62)
    monkeypatch.setattr("api.images.intake", lambda: Intake(transaction, full, settings()))
    monkeypatch.setattr("api.imports.blobs", lambda: full)
    answers = [
        api.post("/v1/images", data={"file": (io.BytesIO(image_bytes(1)), "a.jpg")}),
        send(api, zipped(**{"a.jpg": image_bytes(1)})),
    ]
    assert [(answer.status_code, answer.get_json()["code"]) for answer in answers] == [(507, "storage_full")] * 2
    assert [api.get(path).get_json()["items"] for path in ("/v1/images", "/v1/jobs")] == [[], []]


def test_a_full_queue_is_listed_into_no_further(api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "CHUNK", 2)
    monkeypatch.setattr(FetchLine, "_claim", lambda *_: [])
    job_id = imported(api, zipped(**{f"{n}.jpg": image_bytes(n) for n in range(6)}))
    fetch(config=settings().model_copy(update={"max_pending": 3}))
    assert job(api, job_id)["counts"]["total"] == 4


def test_pictures_beyond_the_quota_fail_and_the_others_come_in(api: FlaskClient, fetch: Callable[..., None]) -> None:
    api.post("/v1/collections", json={"name": "garden"})
    api.patch("/v1/collections/garden", json={"max_images": 3})
    archive = zipped(**{f"{n}.jpg": image_bytes(n) for n in range(5)}, **{"again.jpg": image_bytes(0)})
    job_id = imported(api, archive, collection="garden")
    fetch()
    assert counts(api, job_id) == {"pending": 3, "duplicate": 1, "failed": 2}
    failed = api.get(f"/v1/jobs/{job_id}/items?status=failed").get_json()["items"]
    assert {item["error_code"] for item in failed} == {"quota_exceeded"}
    assert api.get("/v1/collections/garden").get_json()["images"] == 3
