"""Names and labels: one form of each, by whichever way it comes and wherever it is compared."""

import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from umbel_client.folder import list_images
from umbel_files.names import printable

from tests.images import image_bytes
from tests.integration.imports.archives import counts, imported, use, zipped
from tests.integration.uploads import post_image
from umbel.base.settings import settings

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
ODD = (
    *("new\nline.jpg", "-rf.jpg", "emoji 👩‍🌾🇩🇪.jpg", "<img src=x>.jpg", "=SUM(1,2).jpg", "tab\t.jpg"),
    "é" * 100 + ".jpg",
)

pytestmark = pytest.mark.usefixtures("database", "redis")


def images(api: FlaskClient, **query: str) -> list[dict[str, Any]]:
    return list(api.get("/v1/images", query_string=query).get_json()["items"])


def import_folder(api: FlaskClient, fetch: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, **options: Any) -> str:
    use(monkeypatch, import_roots=(str(folder),))
    body = {"source": {"type": "folder", "path": str(folder)}, **options}
    answer = api.post("/v1/imports", json=body)
    assert answer.status_code == 202, answer.text
    fetch(config=settings().model_copy(update={"import_roots": (str(folder),)}))
    return str(answer.get_json()["job_id"])


def test_an_upload_and_a_change_of_its_label_are_normalized(api: FlaskClient) -> None:
    accepted = post_image(api, image_bytes(1), label=DECOMPOSED, name=f"{DECOMPOSED}.jpg").get_json()
    (image,) = images(api)
    assert (image["label"], image["name"]) == (COMPOSED, f"{COMPOSED}.jpg")
    changed = api.patch(f"/v1/images/{accepted['image_id']}", json={"label": f"{DECOMPOSED}s"}).get_json()
    assert changed["label"] == f"{COMPOSED}s"


@pytest.mark.parametrize("asked", [COMPOSED, DECOMPOSED])
def test_a_label_is_found_in_either_form(api: FlaskClient, asked: str) -> None:
    post_image(api, image_bytes(1), label=DECOMPOSED)
    assert len(images(api, label=asked)) == 1


def test_labels_of_folders_and_lists_are_one_with_those_of_uploads(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_image(api, image_bytes(1), label=COMPOSED)
    imported(api, zipped(**{f"{DECOMPOSED}/2.jpg": image_bytes(2)}), label_from_folder="true")
    (tmp_path / DECOMPOSED).mkdir()
    (tmp_path / DECOMPOSED / "3.jpg").write_bytes(image_bytes(3))
    (tmp_path / "4.jpg").write_bytes(image_bytes(4))
    import_folder(api, fetch, monkeypatch, tmp_path, label_from_folder=True)
    imported(api, f"path,label\n4.jpg,{DECOMPOSED}\n".encode(), "list.csv", base=str(tmp_path), collection="listed")
    fetch(config=settings().model_copy(update={"import_roots": (str(tmp_path),)}))
    assert [image["label"] for image in images(api, label=COMPOSED)] == [COMPOSED] * 4


def test_a_list_still_reads_files_whose_names_are_decomposed(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{DECOMPOSED}.jpg").write_bytes(image_bytes(1))
    use(monkeypatch, import_roots=(str(tmp_path),))
    job_id = imported(api, f"path\n{DECOMPOSED}.jpg\n".encode(), "list.csv", base=str(tmp_path))
    fetch(config=settings().model_copy(update={"import_roots": (str(tmp_path),)}))
    assert (counts(api, job_id), images(api)[0]["name"]) == ({"pending": 1}, f"{COMPOSED}.jpg")


def test_any_name_is_imported_alike_by_upload_folder_and_zip(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (*ODD, os.fsdecode(b"caf\xe9.jpg"), "x" * 251 + ".jpg")
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(image_bytes(number))
        post_image(api, image_bytes(number), collection="sent", name=printable(name))
    imported(api, zipped(**{name: image_bytes(n) for n, name in enumerate(ODD)}), collection="zipped")
    import_folder(api, fetch, monkeypatch, tmp_path, collection="read")
    found = {each: {image["name"] for image in images(api, collection=each)} for each in ("sent", "zipped", "read")}
    assert found["sent"] == found["read"] == {*ODD, "caf?.jpg", "x" * 251 + ".jpg"}
    assert found["zipped"] == set(ODD)


def test_a_long_name_is_cut_in_one_way(api: FlaskClient) -> None:
    post_image(api, image_bytes(1), name="a/" * 600 + "rose.jpg")
    name = images(api)[0]["name"]
    assert (len(name), name.startswith("…"), name.endswith("a/rose.jpg")) == (1000, True, True)


def test_what_lies_right_in_the_imported_folder_is_labelled_with_its_name(
    api: FlaskClient, fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("roses/1.jpg", "roses/tea/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(image_bytes(len(name)))
    import_folder(api, fetch, monkeypatch, tmp_path / "roses", label_from_folder=True)
    here = list_images([tmp_path / "roses"], label_from_folder=True).images
    labels = {Path(str(image["name"])).name: image["label"] for image in images(api)}
    assert labels == {"1.jpg": "roses", "2.jpg": "tea"} == {image.path.name: image.label for image in here}
