"""Archives as people's tools write them, sent to the API, and what the gallery has then."""

import gzip
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.field import archives
from tests.images import image_bytes
from tests.integration.imports.archives import counts, imported, job, send

pytestmark = pytest.mark.usefixtures("database", "redis")

FILES = {"Urlaub/Tag 0/1.jpg": image_bytes(1), "Urlaub/Tag 1/2.jpg": image_bytes(2), "Urlaub/3.jpg": image_bytes(3)}
LABELS = {"Urlaub/Tag 0/1.jpg": "Tag 0", "Urlaub/Tag 1/2.jpg": "Tag 1", "Urlaub/3.jpg": "Urlaub"}
TAKEOUT = {
    **{
        name: image_bytes(number)
        for number, name in enumerate(["a.HEIC", "PXL.MP", "IMG_2026.jp", "no suffix", "b.pjpeg"])
    },
    **{"a.HEIC.supplemental-metadata.json": b"{}", "archive_browser.html": b"<html></html>", "README": b"read me"},
}
MAKERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "windows": archives.windows,
    "streamed": archives.streamed,
    "self-extracting": archives.self_extracting,
    "spanned": archives.spanned,
    "signature in the comment": lambda files: archives.zip_of(archives.plain(files), comment=b"PK\x05\x06" + b"x" * 40),
    "100 kB behind": lambda files: archives.zip_of(archives.plain(files), behind=bytes(100_000)),
    "tar": lambda files: archives.tarred(*files.items()),
    "tar.gz and more": lambda files: gzip.compress(archives.tarred(*files.items())) + b"and more",
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_whatever_wrote_the_archive_its_pictures_are_imported(make: Any, api: FlaskClient, fetch: Any) -> None:
    imported(api, make(FILES), "archive", label_from_folder="true")
    fetch()
    images = api.get("/v1/images").get_json()["items"]
    assert {image["name"]: image["label"] for image in images} == LABELS


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_pictures_in_archives_are_known_by_their_bytes(make: Any, api: FlaskClient, fetch: Any) -> None:
    job_id = imported(api, make(TAKEOUT))
    fetch()
    source = job(api, job_id)["source"]
    assert (source["listed"], source["skipped"], source["rejected"]) == (5, 3, 0)
    assert counts(api, job_id) == {"pending": 5}


@pytest.mark.parametrize(
    ("kind", "links"),
    [
        (tarfile.LNKTYPE, {"again.jpg": "Urlaub/3.jpg", "b/again.jpg": "Urlaub/3.jpg"}),
        (tarfile.SYMTYPE, {"Urlaub/again.jpg": "3.jpg", "b/again.jpg": "../Urlaub/3.jpg"}),
    ],
)
def test_links_within_an_archive_count_as_duplicates(
    kind: bytes, links: dict[str, str], api: FlaskClient, fetch: Any
) -> None:
    job_id = imported(api, archives.with_links(FILES, {**links, "out.jpg": "/etc/passwd"}, kind))
    fetch()
    assert counts(api, job_id) == {"pending": 3, "duplicate": 2, "failed": 1}


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (archives.zip_of(archives.plain(FILES), disk=2), 422, "one of several volumes"),
        (archives.zip_of(archives.plain(FILES))[:-30], 422, "cut short"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), 415, "7-Zip"),
    ],
    ids=["volume", "cut short", "7z"],
)
def test_what_cannot_be_read_is_refused_with_its_reason(data: bytes, status: int, says: str, api: FlaskClient) -> None:
    answer = send(api, data)
    assert answer.status_code == status
    assert says in answer.get_json()["detail"]
