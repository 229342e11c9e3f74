"""Imports from a bucket that is away, and another beside it, which must not wait for the bucket."""

import hashlib
import tempfile
import time
import zipfile
from pathlib import Path

from tests.faults.bucket import WAYS
from tests.faults.clients import PAUSE_SECONDS
from tests.faults.images import image_bytes
from tests.faults.schedule import Fault
from tests.faults.target import NoTarget, Scene

IMPORTS = 3  # of parts of the bucket
FAR, NEAR = 24, 12  # pictures in the bucket, and in the archive beside it
BESIDE_SECONDS = 30  # for reading that archive: it takes two, on cores that are busy


def lose_bucket(scene: Scene, fault: Fault) -> None:
    """The bucket is away until an archive that came later has been read, or for as long as the fault lasts.

    Raises AssertionError if the archive waits for the bucket.
    """
    bucket = scene.target.bucket
    if bucket is None:
        raise NoTarget("there is no bucket")
    pictures = {f"{number:04}.jpg": image_bytes(fault.seed, number) for number in range(FAR + NEAR)}
    far, near = list(pictures)[:FAR], list(pictures)[FAR:]
    parts = [{name: pictures[name] for name in far[part::IMPORTS]} for part in range(IMPORTS)]
    urls = [bucket.fill(f"{fault.seed}/{part}", some) for part, some in enumerate(parts)]
    way = list(WAYS)[int(fault.pick * len(WAYS))]
    with bucket.away(way):
        began = time.monotonic()
        for url in urls:
            scene.clients.ask(lambda api, url=url: api.imports.s3(url, collection=scene.collection))  # type: ignore[misc]
        scene.clients.receipts.promise({_digest(pictures[name]): name for name in far})
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            with zipfile.ZipFile(file, "w") as packed:
                for name in near:
                    packed.writestr(name, pictures[name])
            file.flush()
            scene.clients.ask(lambda api: api.imports.file(Path(file.name), collection=scene.collection))
        hashes = {_digest(pictures[name]): name for name in near}
        scene.clients.receipts.promise(hashes)
        # Until they are read; to be embedded they wait their turn behind what came before.
        while len(scene.clients.ask(lambda api: api.images.check(list(hashes), collection=scene.collection))) < NEAR:
            waited = time.monotonic() - began
            assert waited < BESIDE_SECONDS, f"an import waits for {waited:.0f} s beside a bucket that {WAYS[way]}"
            scene.clients.pause(PAUSE_SECONDS)
        scene.stop.wait(max(0.0, began + fault.seconds - time.monotonic()))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
