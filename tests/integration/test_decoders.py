"""Real child processes and real deaths. Orders to the children are the bytes of the pictures."""

import ctypes
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import types
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from ml.preprocess import Preprocessing
from tests.images import image_bytes
from tests.processes import eventually
from umbel.base.blobs import Blobs
from umbel.base.errors import BlobMissing, DecoderDied, ImageError, TooManyPixels, TransientError
from umbel.base.settings import Settings
from umbel.base.types import Box, ImageInfo, Pixels
from umbel.gallery.tiles import LAYOUTS
from worker.decoders import WorkerDecoders

SECONDS = 20  # for what takes a fraction of one
LIMITS = Settings()


class Gate:
    """Where a child waits. Its pipes are opened when it is unpickled: later the child can open nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("arrived", "open"):
            if not (folder / name).exists():
                os.mkfifo(folder / name)
        self._arrived, self._open = (os.open(folder / name, os.O_RDWR) for name in ("arrived", "open"))

    def __reduce__(self) -> tuple[type["Gate"], tuple[Path]]:
        return Gate, (self._folder,)

    def wait(self) -> None:
        """In the child, until the test leaves its `with`."""
        os.write(self._arrived, b"!")
        os.read(self._open, 1)

    def __enter__(self) -> None:
        """In the test, as soon as the child waits."""
        os.read(self._arrived, 1)

    def __exit__(self, *_: object) -> None:
        os.write(self._open, b"!")


def obey(order: bytes, gate: Gate | None = None) -> Pixels:
    """What the children of these tests do instead of decoding."""
    match order.split():
        case [b"crash"]:
            ctypes.string_at(0)
        case [b"exit"]:
            os._exit(3)
        case [b"hang"]:
            while True:
                pass
        case [b"bloat"]:
            hoard = []
            while True:
                hoard.append(np.empty(2**20, np.uint8))  # of address space: quick on a busy machine, too
        case [b"raise"]:
            raise KeyError("no such shade")
        case [b"modules"]:
            Preprocessing().decode(image_bytes(), LIMITS)
            return np.full((1, 1, 3), len({"torch", "timm", "celery"} & set(sys.modules)), np.uint8)
        case [b"wait"]:
            assert gate
            gate.wait()
    return np.frombuffer(order[-3:], np.uint8).reshape(1, 1, 3)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), decode_processes=2, decode_seconds=2, decode_memory=2**28)


@pytest.fixture(scope="module")
def obeying(settings: Settings) -> Iterator[WorkerDecoders]:
    with WorkerDecoders(Preprocessing(), settings, decode=obey) as pool:
        yield pool


@pytest.fixture
def single(settings: Settings, gate: Gate) -> Iterator[WorkerDecoders]:
    """One child, ready."""
    one = settings.model_copy(update={"decode_processes": 1})
    with WorkerDecoders(Preprocessing(), one, decode=partial(obey, gate=gate)) as pool:
        text(pool.decode(b"hello"))
        yield pool


@pytest.fixture(scope="module")
def decoding(settings: Settings) -> Iterator[WorkerDecoders]:
    with WorkerDecoders(Preprocessing(), settings) as pool:
        yield pool


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def text(answer: Future[Pixels]) -> str:
    return answer.result(SECONDS).tobytes().decode()


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (b"crash", "was killed by SIGSEGV"),
        (b"exit", "exited with status 3"),
        (b"hang", "took more than 2 s"),
        (b"bloat", "needed more than 256 MiB"),
    ],
)
def test_a_picture_that_kills_its_decoder_fails_alone(obeying: WorkerDecoders, order: bytes, reason: str) -> None:
    before = [obeying.decode(b"b%02d" % n) for n in range(20)]
    bad = obeying.decode(order)
    after = [obeying.decode(b"a%02d" % n) for n in range(20)]
    assert [text(answer) for answer in before] == [f"b{n:02}" for n in range(20)]
    assert [text(answer) for answer in after] == [f"a{n:02}" for n in range(20)]
    with pytest.raises(DecoderDied, match=reason):
        bad.result(SECONDS)


def test_a_dead_child_is_replaced(single: WorkerDecoders) -> None:
    (former,) = single.pids()
    single.decode(b"crash").exception(SECONDS)
    assert text(single.decode(b"new")) == "new"
    assert single.pids() != [former]


def test_a_default_timeout_of_this_process_is_none_of_the_child(settings: Settings) -> None:
    one = settings.model_copy(update={"decode_processes": 1})
    socket.setdefaulttimeout(0.1)  # as Celery does while it stops
    try:
        with WorkerDecoders(Preprocessing(), one, decode=obey) as pool:
            text(pool.decode(b"one"))
            [child] = pool.pids()
            with pytest.raises(psutil.TimeoutExpired):  # while it waits for the next
                psutil.Process(child).wait(1)
            assert text(pool.decode(b"two")) == "two"
    finally:
        socket.setdefaulttimeout(None)


def test_a_child_that_ran_out_of_memory_is_replaced(single: WorkerDecoders) -> None:
    (former,) = single.pids()
    single.decode(b"bloat").exception(SECONDS)
    eventually(lambda: former not in single.pids())


def test_in_a_container_of_little_memory_a_picture_may_take_less(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.decoding.limits.memory", lambda: 2**29)
    unset = settings.model_copy(update={"decode_processes": 1, "decode_memory": 0})
    with WorkerDecoders(Preprocessing(), unset, decode=obey) as pool:
        with pytest.raises(DecoderDied, match="needed more than 384 MiB"):
            pool.decode(b"bloat").result(SECONDS)
        assert text(pool.decode(b"abc")) == "abc"


def test_an_unknown_error_arrives_as_text(obeying: WorkerDecoders) -> None:
    with pytest.raises(RuntimeError, match=r"in obey[\s\S]*KeyError: 'no such shade'"):
        obeying.decode(b"raise").result(SECONDS)


def test_a_child_killed_while_idle_costs_nobody_anything(single: WorkerDecoders) -> None:
    (former,) = single.pids()
    os.kill(former, signal.SIGKILL)
    assert text(single.decode(b"abc")) == "abc"


def test_a_picture_whose_child_was_dead_before_it_began_is_tried_on_another(single: WorkerDecoders) -> None:
    (former,) = single.pids()
    os.kill(former, signal.SIGSTOP)
    answer = single.decode(b"abc")
    eventually(answer.running)  # handed over to a child that does not read
    os.kill(former, signal.SIGKILL)
    assert text(answer) == "abc"


def test_a_child_killed_while_it_decodes_fails_the_picture(single: WorkerDecoders, gate: Gate) -> None:
    answer = single.decode(b"wait")
    with gate:
        os.kill(single.pids()[0], signal.SIGKILL)
        with pytest.raises(DecoderDied, match="was killed by SIGKILL"):
            answer.result(SECONDS)


def test_children_outlive_the_signals_that_stop_a_worker(single: WorkerDecoders, gate: Gate) -> None:
    answer = single.decode(b"wait")
    (child,) = single.pids()
    with gate:
        os.kill(child, signal.SIGINT)
        os.kill(child, signal.SIGTERM)
    assert text(answer) == "ait"
    assert single.pids() == [child]


def test_an_urgent_picture_goes_first_and_headers_before_whole_pictures(single: WorkerDecoders, gate: Gate) -> None:
    finished: list[str] = []

    def bring(order: bytes, **how: bool) -> Future[Pixels]:
        answer = single.decode(order, **how)
        answer.add_done_callback(lambda done: finished.append(text(done)))
        return answer

    first = bring(b"wait")
    with gate:  # the child has begun with it
        bulk = [bring(b"b%02d" % n) for n in range(5)]
        header = single.inspect(image_bytes())
        header.add_done_callback(lambda _: finished.append("header"))
        urgent = [bring(b"u%02d" % n, urgent=True) for n in range(2)]
    for answer in (first, *bulk, header, *urgent):
        answer.result(SECONDS)
    assert finished[1:] == ["u00", "u01", "header", "b00", "b01", "b02", "b03", "b04"]


def test_a_cancelled_picture_is_not_decoded(single: WorkerDecoders, gate: Gate) -> None:
    first = single.decode(b"wait")
    with gate:
        cancelled = single.decode(b"crash")
        assert cancelled.cancel()
        last = single.decode(b"abc")
    first.result(SECONDS)
    (child,) = single.pids()
    assert (text(last), single.pids()) == ("abc", [child])


def test_no_torch_in_a_child(obeying: WorkerDecoders) -> None:
    assert obeying.decode(b"modules").result(SECONDS).tolist() == [[[0, 0, 0]]]


def test_closing_ends_the_children_and_fails_what_is_unfinished(settings: Settings) -> None:
    pool = WorkerDecoders(Preprocessing(), settings, decode=obey)
    text(pool.decode(b"abc"))
    children = [psutil.Process(pid) for pid in pool.pids()]
    unfinished = [pool.decode(b"hang") for _ in range(4)]
    pool.close()
    assert [child for child in children if child.is_running()] == []
    for answer in (*unfinished, pool.decode(b"abc")):
        with pytest.raises(TransientError, match="closed"):
            answer.result(0)


def test_closing_twice_is_harmless(settings: Settings) -> None:
    pool = WorkerDecoders(Preprocessing(), settings, decode=obey)
    pool.close()
    pool.close()


def test_children_that_do_not_start_fail_what_waits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("known_here_only")
    exec("def decode(data): ...", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with (
        WorkerDecoders(Preprocessing(), settings, decode=module.decode) as pool,
        pytest.raises(TransientError, match="No decoder starts; the last one exited with status 1"),
    ):
        pool.decode(b"abc").result(SECONDS)


@pytest.mark.slow
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """One idle, one that hangs and so does not see the end of its socket."""
    code = """
import sys
import structlog
from umbel.base.settings import Settings
from ml.preprocess import Preprocessing
from tests.integration.test_decoders import obey
from worker.decoders import WorkerDecoders

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
pool = WorkerDecoders(Preprocessing(), Settings(home=".", decode_seconds=2), decode=obey)
pool.decode(b"abc").result()
pool.decode(b"hang")
pool.decode(b"abc").result()  # by the other child
print(*pool.pids(), flush=True)
input()
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=SECONDS)[1] == []


def test_pixels_are_those_of_decoding_here(decoding: WorkerDecoders, settings: Settings) -> None:
    for box in (None, Box(0.5, 0.25, 0.5, 0.75)):
        pixels = decoding.decode(image_bytes(1), box=box).result(SECONDS)
        assert np.array_equal(pixels, Preprocessing().decode(image_bytes(1), settings, box))
    assert pixels.flags.writeable


def test_a_blob_is_given_to_the_child(decoding: WorkerDecoders, settings: Settings) -> None:
    Blobs(settings.blobs).put("ab/picture", image_bytes(2))
    assert np.array_equal(
        decoding.decode("ab/picture").result(SECONDS), Preprocessing().decode(image_bytes(2), settings)
    )


def test_parts_of_a_blob_are_what_each_would_be_by_itself(decoding: WorkerDecoders, settings: Settings) -> None:
    Blobs(settings.blobs).put("ab/tiled", image_bytes(3))
    boxes = list(LAYOUTS[4].values())
    parts = decoding.decode_parts("ab/tiled", boxes).result(SECONDS)
    alone = [Preprocessing().decode(image_bytes(3), settings, box) for box in boxes]
    assert [np.array_equal(*each) for each in zip(parts, alone, strict=True)] == [True] * 4


def test_a_missing_blob_is_called_so(decoding: WorkerDecoders) -> None:
    with pytest.raises(BlobMissing, match="ab/nothing"):
        decoding.decode("ab/nothing").result(SECONDS)


def test_inspecting_tells_type_and_size(decoding: WorkerDecoders) -> None:
    found = decoding.inspect(image_bytes(size=(64, 48), kind="PNG")).result(SECONDS)
    assert found == ImageInfo("image/png", 64, 48)


def huge_png() -> bytes:
    """The header of a PNG with 300 megapixels, and no pixels."""
    header = b"IHDR" + struct.pack("!IIBBBBB", 20_000, 15_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack("!I", 13) + header + struct.pack("!I", zlib.crc32(header))


HOSTILE = {
    "no pixels": image_bytes(size=(400, 300))[:200],
    "truncated WebP": image_bytes(size=(400, 300), kind="WEBP")[:2000],
    "JPEG XL": b"\xff\x0a and more",
    "300 megapixels": huge_png(),
    "text": b"not a picture at all",
    "empty": b"",
    "tiny": image_bytes(size=(8, 8)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_refusal_is_the_same_as_in_this_process(decoding: WorkerDecoders, settings: Settings, data: bytes) -> None:
    with pytest.raises(ImageError) as here:
        Preprocessing().decode(data, settings)
    there: Any = decoding.decode(data).exception(SECONDS)
    assert (type(there), there.detail) == (here.type, here.value.detail)


def test_a_picture_that_needs_too_much_memory_is_refused_and_the_next_is_not(decoding: WorkerDecoders) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (6000, 6000)).save(out, "PNG", compress_level=1)
    with pytest.raises(TooManyPixels, match="more memory"):
        decoding.decode(out.getvalue()).result(SECONDS)
    assert decoding.decode(image_bytes(3)).result(SECONDS).shape == (192, 192, 3)


def test_hostile_files_end_as_refusals(decoding: WorkerDecoders, hostile: Path) -> None:
    answers = {path.name: decoding.decode(path.read_bytes()) for path in hostile.iterdir() if path.is_file()}
    odd = {name: error for name, answer in answers.items() if not _refused_or_taken(error := answer.exception(SECONDS))}
    assert odd == {}


def _refused_or_taken(error: BaseException | None) -> bool:
    return error is None or isinstance(error, ImageError)
