"""How long a zip's import takes beside imports from buckets that refuse connections, or take them and never answer.

python -m benchmarks.unreachable_source
"""

import argparse
import io
import os
import socket
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from umbel_client import Umbel

from benchmarks.common import own_home, seconds, spread, whole_stack, write

IMAGES = 20
ROUNDS = 5
BUCKETS = 3  # imports under way from the bucket meanwhile


@contextmanager
def endpoint(kind: str) -> Iterator[str]:
    """The address of an S3 server. kind: "refuses" connections, or "silent": it takes them and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if kind == "refuses":
            listener.close()
        yield where


def archive(path: Path, first: int) -> Path:
    """A zip of images that are new to the gallery."""
    with zipfile.ZipFile(path, "w") as made:
        for number in range(first, first + IMAGES):
            image = io.BytesIO()
            Image.effect_noise((256, 256), 40 + number % 100).convert("RGB").save(image, "JPEG")
            made.writestr(f"{number}.jpg", image.getvalue())
    return path


def measured(kind: str, rounds: int) -> dict[str, object]:
    from umbel.base.settings import settings  # noqa: PLC0415 - read anew for each home

    settings.cache_clear()
    with endpoint(kind) as url:
        os.environ.update(UMBEL_S3_ENDPOINT=url, AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")
        with own_home() as home, whole_stack(), Umbel(f"http://127.0.0.1:{os.environ['UMBEL_PORT']}") as umbel:
            archives = [archive(home / f"{number}.zip", IMAGES * number) for number in range(2 * rounds)]
            alone = [imported(umbel, each) for each in archives[:rounds]]
            for _ in range(BUCKETS):
                umbel.imports.s3("s3://photos/2024")
            beside = []
            for each in archives[rounds:]:
                time.sleep(1)  # so that the rounds meet the bucket's tries at different moments
                beside.append(imported(umbel, each))
            jobs = [job for job in umbel.jobs.list() if job.source and job.source.type == "s3"]
            return {
                "alone_seconds": spread(alone),
                "beside_seconds": spread(beside),
                "buckets": sorted({str(job.source and job.source.error) for job in jobs}),
            }


def imported(umbel: Umbel, path: Path) -> float:
    """Seconds from the request to the last image's vector."""

    def work() -> None:
        job = umbel.imports.file(path).wait(timeout=300)
        assert job.counts.indexed == IMAGES, job

    return seconds(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    os.environ["UMBEL_IMPORT_ROOTS"] = "s3://photos"
    figures = {kind: measured(kind, asked.rounds) for kind in ("refuses", "silent")}
    write("unreachable_source", {"images": IMAGES, "rounds": asked.rounds, "imports_from_buckets": BUCKETS, **figures})


if __name__ == "__main__":
    main()
