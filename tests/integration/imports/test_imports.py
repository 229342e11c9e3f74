"""Imports that workers read themselves: listed, fetched and checked in this process, by the real API and stores."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.field.archives import tarred
from tests.images import image_bytes
from tests.integration.imports.archives import counts, embed_all, imported, job, send, use, zipped
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.jobs import claims
from umbel.operations import maintenance

pytestmark = pytest.mark.usefixtures("database", "redis")


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


def test_a_list_gives_external_ids_and_one_of_a_later_list_replaces_the_picture(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        (tmp_path / name).write_bytes(image_bytes(number))
    use(monkeypatch, import_roots=(str(tmp_path),))
    allowed = settings().model_copy(update={"import_roots": (str(tmp_path),)})

    def brought(rows: str) -> tuple[dict[str, Any], dict[str, int]]:
        job_id = imported(api, rows.encode(), "list.csv", base=str(tmp_path))
        fetch(config=allowed)
        found = api.get("/v1/images").get_json()["items"]
        return {each["external_id"]: each for each in found}, counts(api, job_id)

    first, counted = brought("path,External_ID,label\na.jpg,1,rose\nb.jpg,2,tulip\n")
    assert counted == {"pending": 2}
    # Of one list: another picture, the same one again, bytes of another id, and an id that comes twice.
    again, counted = brought("path,external_id\nc.jpg,1\nb.jpg,2\nb.jpg,3\na.jpg,1\nc.jpg,1\n")
    assert counted == {"pending": 1, "duplicate": 3, "failed": 1}
    assert again.keys() == {"1", "2"}
    assert again["1"]["image_id"] == first["1"]["image_id"]
    assert (again["1"]["name"], again["1"]["label"]) == ("c.jpg", "rose")


def test_a_list_made_on_windows_is_imported_and_a_bad_row_fails_alone(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(image_bytes(1))
    use(monkeypatch, import_roots=(str(tmp_path),))
    rows = "path\tlabel\r\nsub\\a.jpg\trosé\r\n..\\b.jpg\trose\r\nc.jpg\trose\tred\r\n".encode("utf-16")
    job_id = imported(api, rows, "Unicode Text.txt", base=str(tmp_path))
    fetch(config=settings().model_copy(update={"import_roots": (str(tmp_path),)}))
    (image,) = api.get("/v1/images").get_json()["items"]
    assert (image["name"], image["label"]) == ("sub/a.jpg", "rosé")
    failed = {
        each["error_code"]: each["error"]
        for each in api.get(f"/v1/jobs/{job_id}/items?status=failed").get_json()["items"]
    }
    assert failed.keys() == {"unsafe_path", "bad_manifest_line"}
    assert failed["bad_manifest_line"].startswith("Line 4: has 3 values")


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
    files = ("notes.txt", "a.json", "b.json", "._c.jpg", "@eaDir/d.jpg", "nameless")
    job_id = imported(api, zipped(**dict.fromkeys(files, b"none")))
    fetch()
    seen = job(api, job_id)
    told = "There is no picture in it: 6 files (2 .json, 2 hidden, 1 .txt, 1 without suffix)."
    assert (seen["status"], seen["error"]) == ("failed", told)
    kinds = {".json": 2, "hidden": 2, ".txt": 1, "without suffix": 1}
    assert (seen["source"]["skipped"], seen["source"]["skipped_by_kind"]) == (6, kinds)


def test_what_is_hidden_in_an_archive_is_taken_if_asked_for(api: FlaskClient, fetch: Any) -> None:
    data = zipped(**{"a.jpg": image_bytes(1), "@eaDir/a.jpg/T.jpg": image_bytes(2), "._a.jpg": image_bytes(3)})
    as_ever, everything = imported(api, data), imported(api, data, collection="all", include_hidden="true")
    fetch()
    assert (counts(api, as_ever), counts(api, everything)) == ({"pending": 1}, {"pending": 3})


def test_what_is_hidden_in_a_folder_is_taken_if_asked_for(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "#recycle").mkdir()
    (tmp_path / "#recycle" / "a.jpg").write_bytes(image_bytes(1))
    use(monkeypatch, import_roots=(str(tmp_path),))
    source = {"type": "folder", "path": str(tmp_path), "include_hidden": True}
    job_id = api.post("/v1/imports", json={"source": source}).get_json()["job_id"]
    fetch(config=settings().model_copy(update={"import_roots": (str(tmp_path),)}))
    assert counts(api, job_id) == {"pending": 1}


def test_an_archive_that_was_cut_short_fails_and_says_so(api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, tarred(("a.jpg", image_bytes(1)))[:1024], "pictures.tar")
    fetch()
    seen = job(api, job_id)
    assert (seen["status"], seen["counts"]["total"], "cut short" in seen["error"]) == ("failed", 0, True)


@pytest.mark.parametrize(
    ("data", "name", "status", "code"),
    [
        (b"not an archive, whatever its name", "a.zip", 415, "unsupported_archive"),
        (zipped(**{"a.jpg": b"cut short"})[:-30], "a.zip", 422, "source_error"),
        (b"\x00\x01\x02", "list.csv", 415, "unsupported_manifest"),
        (b"file,label\na.jpg,rose\n", "list.csv", 422, "bad_manifest"),
        (b"path,label\na.jpg,ros\xe9\n", "list.tsv", 422, "bad_manifest"),
        (b'path\n"a.jpg\n' + b"b.jpg\n" * 999, "LIST.TXT", 422, "bad_manifest"),
        (b'{"path": "a.jpg"},\n', "list.json", 422, "bad_manifest"),
    ],
    ids=["no archive", "no directory", "no text", "no path", "not UTF-8", "open quote", "cut JSON"],
)
def test_a_broken_upload_is_refused_and_leaves_nothing(
    api: FlaskClient, data: bytes, name: str, status: int, code: str
) -> None:
    answer = send(api, data, name)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    maintenance.clean_up(transaction, blobs(), settings())
    assert (list(blobs().list("imports")), api.get("/v1/jobs").get_json()["items"]) == ([], [])


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
