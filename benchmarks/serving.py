"""How much memory does the API take while eight clients fetch pictures of 40 megapixels at once?

The API as `umbel api` serves it, with Postgres and Redis and no worker. Eight pictures of the largest size (JPEG, PNG
with transparency, HEIC) are uploaded; then eight clients fetch `/file` of one each, at the same moment: the first time,
when each is made, again, and in ranges. Memory is proportional set size (PSS): of the API's processes, and apart from
them of the decoders, which are its children. It is read five times a second.
"""

import http.client
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import numpy as np
import pillow_heif
import psutil  # type: ignore[import-untyped]
from PIL import Image

from benchmarks.common import own_servers, write
from benchmarks.served import Served, served

CLIENTS = 8
SIZE = (7300, 5475)  # 39.97 megapixels
NOISY = 600  # rows
ROUNDS = 20  # of fetching what is made
EVERY_SECONDS = 0.2
KINDS = ("jpeg", "png", "heic")


def main() -> None:
    with own_servers(), served(UMBEL_DECODE_SECONDS="120") as api:  # on a busy machine too
        answer = _measured(api)
    write("serving", answer)


def _measured(api: Served) -> dict[str, object]:
    with _watched(api) as idle:
        time.sleep(1)
    with _watched(api) as uploading:
        paths = [_upload(api, number, data) for number, data in enumerate(_pictures())]
    peaks: dict[str, dict[str, float]] = {"idle": idle, "uploads": uploading}
    for name, headers in {"first": {}, "again": {}, "ranges": {"Range": "bytes=100000-"}}.items():
        with _watched(api) as peak:
            rounds = [_fetch_all(api, paths, headers) for _ in range(1 if name == "first" else ROUNDS)]
        peaks[name] = peak | rounds[-1]
    return {
        "clients": CLIENTS,
        "megapixels": round(SIZE[0] * SIZE[1] / 1e6, 2),
        "api_peak_megabytes": max(peak["api_megabytes"] for peak in peaks.values()),
        "peaks": peaks,
    }


def _pictures() -> Iterator[bytes]:
    """CLIENTS files, of three different pictures: bytes behind the end are no part of a picture."""
    blotches = np.random.default_rng(0).integers(0, 256, (60, 80, 4), dtype=np.uint8)
    picture = Image.fromarray(blotches).resize(SIZE, Image.Resampling.BICUBIC)
    files = {}
    for kind in KINDS:
        out = io.BytesIO()
        if kind == "png":  # plain but for a band of noise: all of it noise would have far more than 20 MiB
            pixels = np.array(Image.fromarray(blotches).resize(SIZE, Image.Resampling.NEAREST))
            pixels[:NOISY] = np.random.default_rng(1).integers(0, 256, pixels[:NOISY].shape, dtype=np.uint8)
            Image.fromarray(pixels).save(out, "PNG", compress_level=1)
        elif kind == "heic":
            pillow_heif.from_pillow(picture.convert("RGB")).save(out, quality=50, enc_params={"preset": "ultrafast"})
        else:
            picture.convert("RGB").save(out, kind, quality=90)
        files[kind] = out.getvalue()
    for number in range(CLIENTS):
        kind = KINDS[number % len(KINDS)]
        yield files[kind] + b"\0\0\0\x0cfree" + number.to_bytes(4, "big")


def _upload(api: Served, number: int, data: bytes) -> str:
    url = f"http://127.0.0.1:{api.port}/v1/images"
    answer = httpx.post(url, files={"file": (f"{number}", data)}, timeout=120)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return f"/v1/images/{answer.json()['image_id']}/file"


def _fetch_all(api: Served, paths: list[str], headers: dict[str, str]) -> dict[str, float]:
    """Seconds until the first and the last client had its picture, and how much they got."""
    began = time.perf_counter()

    def fetch(path: str) -> tuple[float, int]:
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=300)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.status in (200, 206), answer.read()
        size = 0
        while part := answer.read(2**16):
            size += len(part)
        connection.close()
        return time.perf_counter() - began, size

    with ThreadPoolExecutor(CLIENTS) as clients:
        done = list(clients.map(fetch, paths))
    times, sizes = zip(*done, strict=True)
    return {
        "first_after_seconds": round(min(times), 2),
        "last_after_seconds": round(max(times), 2),
        "megabytes_received": round(sum(sizes) / 1e6, 1),
    }


@contextmanager
def _watched(api: Served) -> Iterator[dict[str, float]]:
    """The highest sums of PSS until it is left, in MB."""
    peak: dict[str, float] = {"api_megabytes": 0, "decoders_megabytes": 0, "decoder_megabytes": 0}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_SECONDS):
            ours, decoders = _memory(api, lambda process: "umbel.decoding.child" in " ".join(process.cmdline()))
            now = {"api_megabytes": sum(ours), "decoders_megabytes": sum(decoders)}
            now["decoder_megabytes"] = max(decoders, default=0)
            for name, value in now.items():
                peak[name] = max(peak[name], round(value / 1e6, 1))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _memory(api: Served, is_decoder: Callable[[psutil.Process], bool]) -> tuple[list[int], list[int]]:
    ours: list[int] = []
    decoders: list[int] = []
    for process in (api.process, *api.process.children(recursive=True)):
        with suppress(psutil.Error):
            (decoders if is_decoder(process) else ours).append(process.memory_full_info().pss)
    return ours, decoders


if __name__ == "__main__":
    main()
