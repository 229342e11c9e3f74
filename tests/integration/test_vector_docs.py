"""Pages of how-tos are run as they stand, against an API whose worker is this test."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from tests.images import image_bytes
from tests.integration.factory import DIM, Factory, committed, unit
from tests.integration.test_server import Api
from tests.processes import free_port
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.changes.bulk import BulkHandler
from umbel.embedding import query_images
from umbel.events.handler import EventHandler

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
IMAGE = "019b2f6e-0000-7000-8000-000000000000"
PORT = "9000"  # where examples listen

# Runs the blocks that it is sent until there is an empty one; after each it says how the shell goes on.
INTERPRETER = """
import pathlib, traceback
scope = {"__name__": "__main__"}
while block := pathlib.Path("block").read_text():
    try:
        exec(block, scope)
        then = ":"
    except BaseException:
        traceback.print_exc()
        then = "exit 1"
    print(end="", flush=True)
    pathlib.Path("ended").write_text(then)
"""

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def embedding() -> Iterator[None]:
    """Answers whoever waits for the vector of a picture, as a worker does."""
    ended = threading.Event()

    def answer() -> None:
        while not ended.wait(0.02):
            asked = query_images.claim_queries(8)
            if asked.version_id is not None:
                query_images.answer_queries(asked.version_id, {one: unit(1) for one in asked.images})

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.fixture
def delivering() -> Iterator[None]:
    """Delivers events, as a worker does."""
    ended = threading.Event()
    limits = settings().model_copy(update={"private_hosts": ("127.0.0.1",)})
    handler = EventHandler(transaction=transaction, settings=limits, owner="tester")

    def deliver() -> None:
        while not ended.wait(0.05):
            handler.run()

    thread = threading.Thread(target=deliver)
    thread.start()
    yield
    ended.set()
    thread.join()
    handler.close()


def run(page: str, server: Api, folder: Path, image_id: str, *, only: str = "bash|python", **places: Path) -> str:
    """What the page's blocks print, in one shell; a Python one goes on from where the last one ended.

    only: these kinds of blocks. places: folders that the page has in /data.
    """
    program = folder / "umbel"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m cli.main "$@"\n')
    program.chmod(0o755)
    for number, name in enumerate(("photo", "back", "leaf", "flower"), 1):
        (folder / f"{name}.jpg").write_bytes(image_bytes(number))
    (folder / "interpreter.py").write_text(INTERPRETER)
    script = ["mkfifo block ended; (python interpreter.py &); trap ': > block' EXIT"]
    for kind, code in re.findall(rf"```({only})\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL):
        script.append(code if kind == "bash" else f"cat > block <<'PYTHON'\n{code}PYTHON\neval \"$(cat ended)\"")
    paths = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    here = {IMAGE: image_id, "localhost:8080": f"127.0.0.1:{server.port}", PORT: str(free_port())}
    here |= {f"/data/{name}": str(path) for name, path in places.items()}
    for said, meant in here.items():
        script = [each.replace(said, meant) for each in script]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": paths, "UMBEL_URL": f"http://127.0.0.1:{server.port}"},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.usefixtures("embedding")
def test_vectors_go_out_and_come_in_as_the_page_says(server: Api, tmp_path: Path) -> None:
    def gallery(make: Factory) -> UUID:
        version = make.version()
        for n in range(4):
            make.image(collection="garden", label="tulip", vector=unit(n), version=version)
        return make.image(collection="garden", label="rose", vector=unit(4), version=version)

    image_id = committed(gallery)
    printed = run("vectors.md", server, tmp_path, str(image_id))
    assert f'"dim":{DIM}' in printed
    assert f"(5, {DIM}) tulip {{}}" in printed
    assert "5 stored, 0 failed" in printed
    assert "5 vectors stored, 0 rows failed." in printed
    assert '"indexed":5' in printed


def test_images_are_known_by_ids_of_their_senders_as_the_page_says(server: Api, tmp_path: Path) -> None:
    assert run("external-ids.md", server, tmp_path, IMAGE).count('"external_id":"sku-1042"') == 1


@pytest.mark.usefixtures("embedding")
def test_searches_find_what_the_page_says(server: Api, tmp_path: Path) -> None:
    def gallery(make: Factory) -> UUID:
        version = make.version()
        for n in range(36):
            make.image(collection="garden", label=("tulip", "rose", "iris")[n % 3], vector=unit(n), version=version)
        return make.image(collection="garden", label="rose", vector=unit(99), version=version)

    image_id = committed(gallery)
    printed = run("search.md", server, tmp_path, str(image_id))
    assert "2 2 on two pages\n5 of all\n10 by a part\n" in printed
    assert re.search(r"^rose 13 1.0$", printed, re.MULTILINE)
    assert "3 that differ" in printed
    assert "3 matches\nThere is no collection called 'nowhere'." in printed
    assert '"status":422' in printed.replace(" ", "")


def test_many_are_changed_removed_and_restored_as_the_page_says(server: Api, tmp_path: Path) -> None:
    def gallery(make: Factory) -> UUID:
        version = make.version()
        ids = [
            make.image(collection="garden", name=f"roses/{n}.jpg", vector=unit(n), version=version) for n in range(4)
        ]
        return ids[3]

    image_id = committed(gallery)
    config, ended = settings(), threading.Event()
    bulk = BulkHandler(transaction=transaction, settings=config, blobs=blobs(), wake=lambda _: None)

    def work() -> None:
        while not ended.wait(0.02):
            bulk.run()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        printed = run("trash.md", server, tmp_path, str(image_id))
    finally:
        ended.set()
        worker.join()
    assert printed.count("4 of 4 images") == 3
    assert printed.count("1 of 1 images") == 2


def test_signed_urls_show_pictures_as_the_page_says(server: Api, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/images"
    image_id = httpx.post(url, files={"file": ("a", image_bytes(1))}, timeout=60).json()["image_id"]
    printed = run("signed-urls.md", server, tmp_path, image_id)
    assert f"{url}/{image_id}/file?expires=" in printed
    assert f'<img src="{url}/{image_id}/thumbnail?expires=' in printed


def test_a_site_shows_similar_products_as_the_page_says(server: Api, tmp_path: Path) -> None:
    def catalog(make: Factory) -> UUID:
        version = make.version()
        for n in range(3):
            make.image(collection="catalog", meta={"product": str(4711 + n)}, vector=unit(n), version=version)
        return make.image(collection="other", meta={"product": "4711"}, vector=unit(1), version=version)

    committed(catalog)
    printed = run("website.md", server, tmp_path, "")
    assert "'product': '4711'" not in printed
    assert "'product': '4712'" in printed
    assert f"'src': 'http://127.0.0.1:{server.port}/v1/images/" in printed


@pytest.mark.usefixtures("delivering")
def test_events_are_heard_and_received_as_the_page_says(server: Api, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/images"
    image_id = httpx.post(url, files={"file": ("a", image_bytes(1))}, timeout=60).json()["image_id"]
    printed = run("events.md", server, tmp_path, image_id)
    assert " job.queued default" in printed
    assert f"image.changed default {{'changed': ['label'], 'image_ids': ['{image_id}']}}" in printed
    assert "delivered" in printed


def test_a_program_makes_lists_and_revokes_keys_as_the_page_says(server: Api, tmp_path: Path) -> None:
    """Its Python alone: what it says of the command line is that of tests/integration/test_keys.py."""
    printed = run("keys.md", server, tmp_path, IMAGE, only="python")
    key, *listed = printed.splitlines()
    assert re.fullmatch(r"umbel_[0-9a-f]{12}_[0-9a-f]{64}", key)
    assert listed[0].startswith(f"shop {key.split('_')[1]} read ['garden']")
