"""Clients against a stack that runs: ours, and one that others' tools generate from our specification."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from umbel_client import InvalidRequest, NotFound, NotIndexed, StillRunning, Umbel

from tests.images import image_bytes
from tests.picture_server import serving
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PATIENCE = 60.0


@pytest.fixture(scope="module")
def running(stack: Stack) -> Stack:
    stack.environment |= {"UMBEL_IMPORT_URLS": "true", "UMBEL_PRIVATE_HOSTS": "127.0.0.1"}
    stack.umbel("up", "--detach")
    return stack


@pytest.fixture
def umbel(running: Stack) -> Iterator[Umbel]:
    with running.client() as client:
        yield client


def test_a_picture_is_uploaded_waited_for_found_changed_and_removed(umbel: Umbel) -> None:
    image = umbel.images.upload(image_bytes(1), label="rose", metadata={"year": 2026}).wait(PATIENCE)
    assert (image.status, image.label, image.metadata) == ("indexed", "rose", {"year": 2026})
    assert umbel.images.upload(image_bytes(1)).status == "duplicate"

    for found in (umbel.search(image_bytes(1), k=1, filter={"label": ["rose"]}), umbel.search(image_id=image.image_id)):
        assert all(match.label == "rose" or match.image_id != image.image_id for match in found.matches)
    assert umbel.search(image_bytes(1), k=1).matches[0].image_id == image.image_id
    assert umbel.identify([image_bytes(1)]).results[0].label == "rose"
    embedded, kept = umbel.embed([image_bytes(1)]), umbel.images.get(image.image_id, with_vector=True).vector
    assert (embedded.dim, kept) == (len(embedded.vectors[0]), pytest.approx(embedded.vectors[0], abs=1e-3))
    assert umbel.images.thumbnail(image.image_id).startswith(b"\xff\xd8")
    assert umbel.images.file(image.image_id).startswith(b"\xff\xd8")

    assert umbel.images.update(image.image_id, label=None).label is None
    assert umbel.images.get(image.image_id).metadata == {"year": 2026}
    umbel.images.delete(image.image_id)
    with pytest.raises(NotFound):
        umbel.images.get(image.image_id)


def test_pictures_are_taken_by_their_urls(running: Stack, umbel: Umbel) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "import.md").read_text()
    [curl] = re.findall(r'^curl .*"url".*$', page, re.MULTILINE)
    with serving() as pictures:
        pictures.content = image_bytes(70)
        url = f"http://127.0.0.1:{pictures.server_port}/tulips/1.jpg"
        environment = os.environ | {"UMBEL_URL": running.url}
        command = curl.replace("https://pictures.example/tulips/1.jpg", url)
        sent = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, env=environment)
        again = umbel.images.upload_url(url, metadata={"year": 2026}, external_id="sku-1042")
        assert (again.status, str(again.image_id)) == ("duplicate", json.loads(sent.stdout)["image_id"])
        image = again.wait(PATIENCE)
        assert (image.name, image.label, image.metadata) == (url, "tulip", {"year": 2026})
        with pytest.raises(InvalidRequest, match="404"):
            umbel.images.upload_url(f"http://127.0.0.1:{pictures.server_port}/status/404")
        pictures.content = image_bytes(71)
        imported = running.umbel("import", url, "--collection", "urls", "--wait", "--json").stdout
    assert json.loads(imported)["jobs"][0]["counts"]["indexed"] == 1


def test_a_folder_is_one_job_of_what_is_new(umbel: Umbel, tmp_path: Path) -> None:
    for number in range(12):
        folder = tmp_path / f"kind-{number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(image_bytes(100 + number))
    (tmp_path / "kind-0" / "broken.jpg").write_bytes(image_bytes(50)[:40])
    (tmp_path / "notes.txt").write_text("no picture")
    told: list[int] = []

    sent = umbel.images.upload_folder(
        tmp_path, collection="folder", label_from_folder=True, concurrency=3, on_progress=told.append
    )
    assert (sent.queued, sent.known, list(sent.rejected)) == (12, 0, [f"{tmp_path.name}/kind-0/broken.jpg"])
    assert sum(told) == 13
    job = sent.wait(PATIENCE)
    assert job is not None
    assert (job.counts.indexed, job.counts.failed) == (12, 1)
    assert {image.label for image in umbel.images.list(collection="folder", page_size=5)} == {"kind-0", "kind-1"}

    again = umbel.images.upload_folder(tmp_path, collection="folder")
    assert (again.queued, again.known) == (0, 12)
    assert umbel.collections.get("folder").images == 12
    assert umbel.collections.delete("folder").wait(PATIENCE).status == "succeeded"


def test_what_cannot_be_had_is_said_by_type(umbel: Umbel) -> None:
    with pytest.raises(NotFound):
        umbel.jobs.get(UUID(int=7))
    with pytest.raises(InvalidRequest) as caught:
        umbel.search(image_bytes(1), k=0)
    assert "k" in next(iter(caught.value.errors.values()))
    job_id = umbel.imports.open()
    waiting = umbel.jobs.work(job_id)
    with pytest.raises(StillRunning):
        waiting.wait(0.1)
    paused = umbel.jobs.pause(job_id)
    assert paused.paused
    held = umbel.images.upload(image_bytes(60), job_id=job_id)
    umbel.jobs.cancel(job_id)
    with pytest.raises(NotIndexed):
        held.wait(PATIENCE)


@pytest.fixture(scope="module")
def generated(running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """A client as `openapi-python-client` makes it from /openapi.json, imported."""
    folder = tmp_path_factory.mktemp("generated")
    specification = folder / "openapi.json"
    specification.write_text(json.dumps(httpx.get(f"{running.url}/openapi.json", trust_env=False).json()))
    config = folder / "config.json"  # the tool reads JSON and octet streams; pictures and CSV are bytes to it
    kinds = (
        "image/*", "image/jpeg", "text/csv", "text/plain", "application/zip", "application/vnd.apache.parquet",
    )  # fmt: skip
    config.write_text(json.dumps({"content_type_overrides": dict.fromkeys(kinds, "application/octet-stream")}))
    tools = Path(sys.executable).parent
    made = subprocess.run(
        [
            tools / "openapi-python-client", "generate", "--path", specification, "--config", config,
            "--output-path", folder / "umbel_made", "--meta", "none", "--fail-on-warning",
        ],
        capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},  # it formats what it wrote with ruff
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("umbel_made")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "umbel_made"]:
            del sys.modules[name]


def test_a_generated_client_uploads_polls_and_searches(running: Stack, generated: types.ModuleType) -> None:
    def part(name: str) -> Any:
        return importlib.import_module(f"umbel_made.{name}")

    client = generated.Client(base_url=running.url, httpx_args={"trust_env": False})
    file = part("types").File(payload=io.BytesIO(image_bytes(77)), file_name="77.jpg", mime_type="image/jpeg")
    accepted = part("api.images.upload_image").sync(
        client=client, body=part("models").UploadIn(file=file, label="generated")
    )
    assert (accepted.status, accepted.job_id is not None) == ("queued", True)

    deadline = time.monotonic() + PATIENCE
    while (job := part("api.jobs.get_job").sync(accepted.job_id, client=client, wait=10.0)).finished_at is None:
        assert time.monotonic() < deadline
    assert (job.status, job.counts.indexed) == ("succeeded", 1)

    found = part("api.images.similar_images").sync(accepted.image_id, client=client, k=3)
    assert all(match.image_id != accepted.image_id for match in found.matches)
    found = part("api.search.search").sync(
        client=client, body=part("models").SearchIn(image_id=accepted.image_id, k=3, exact=True)
    )
    assert (found.search.mode, found.search.requested) == ("exact", 3)
    missing = part("api.images.get_image").sync(UUID(int=1), client=client)
    assert (missing.status, missing.code) == (404, "not_found")


def test_the_async_client_runs_as_its_page_says(running: Stack, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "python.md").read_text()
    [program] = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "anyio.run" in code]
    (tmp_path / "photo.jpg").write_bytes(image_bytes(77))
    with running.client() as umbel:
        [labelled] = [umbel.images.upload(image_bytes(78), label="rose").wait(PATIENCE)]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"UMBEL_URL": running.url},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(labelled.image_id) in done.stdout
