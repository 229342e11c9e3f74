"""A decoder that was taken over finds no file, no network, no other process and no secret: asked of real children."""

import json
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from tests.images import image_bytes, thumbnail
from umbel.base.blobs import Blobs
from umbel.base.metrics import counted
from umbel.base.settings import Settings
from umbel.decoding import pool as pool_module
from umbel.decoding.pool import DecoderPool
from umbel.decoding.sandbox import SECCOMP

SECONDS = 20
SECRET = "hunter2"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")


def connect(port: str) -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", int(port)))


def run_code(_: str) -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


CRIMES: dict[str, Callable[[str], Any]] = {
    "read a file": lambda path: Path(path).read_bytes(),
    "write a file": lambda path: Path(path).write_bytes(b"!"),
    "list a folder": lambda path: os.listdir(Path(path).parent),
    "remove a file": os.unlink,
    "connect": connect,
    "listen": lambda _: socket.socket().close(),
    "read the parent's environment": lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "signal the parent": lambda _: os.kill(os.getppid(), signal.SIGURG),
    "start a program": lambda _: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}),
    "fork": lambda _: os._exit(0) if os.fork() == 0 else None,
    "become code": run_code,
}


class OldThread:
    """A thread that the child has before it gives anything up, and that commits the crime."""

    def __init__(self) -> None:
        self._asked: queue.Queue[tuple[str, str]] = queue.Queue()
        self._outcomes: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def __reduce__(self) -> tuple[type["OldThread"], tuple[()]]:
        return OldThread, ()

    def _work(self) -> None:
        while True:
            self._outcomes.put(attempt(*self._asked.get()))

    def __call__(self, _data: bytes, _limits: object, crime: str, place: str) -> tuple[list[Any], bytes]:
        self._asked.put((crime, place))
        return [self._outcomes.get()], b""


def attempt(crime: str, place: str) -> str:
    try:
        CRIMES[crime](place)
    except OSError as error:
        return type(error).__name__
    return "done"


def commit(_data: bytes, _limits: object, crime: str, place: str) -> tuple[list[Any], bytes]:
    return [attempt(crime, place)], b""


def told(_data: bytes, _limits: object) -> tuple[list[Any], bytes]:
    return [dict(os.environ)], b""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecoderPool]:
    """Of a parent with secrets in its settings and its environment."""
    url = f"postgresql://umbel:{SECRET}@127.0.0.1/umbel"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("UMBEL_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "HTTPS_PROXY"):
            patch.setenv(name, url)
        settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=url)
        with DecoderPool(1, settings, {"commit": commit, "thread": OldThread(), "told": told}) as pool:
            yield pool


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    return tmp_path / "secret"


def outcome(pool: DecoderPool, job: str, crime: str, place: str) -> str:
    return str(pool.submit(job, b"", lambda head, _: head[0], crime, place).result(SECONDS))


@pytest.mark.parametrize("job", ["commit", "thread"])
@pytest.mark.parametrize("crime", CRIMES)
def test_a_decoder_may_not(pool: DecoderPool, place: Path, job: str, crime: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = str(listener.getsockname()[1]) if crime == "connect" else str(place)
        assert outcome(pool, job, crime, where) == "PermissionError"
    assert place.read_text() == SECRET


def test_a_process_that_is_not_confined_may(place: Path) -> None:
    code = "import sys; from tests.integration.test_sandbox import *; print({attempt(c, sys.argv[1]) for c in CRIMES})"
    asked = [sys.executable, "-c", code.replace("in CRIMES", "in CRIMES if c != 'connect'"), str(place)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "{'done'}"


def test_a_decoder_knows_no_secret(pool: DecoderPool) -> None:
    environment = pool.submit("told", b"", lambda head, _: head[0]).result(SECONDS)
    assert [name for name in environment if name.startswith(("UMBEL_", "AWS_"))] == []
    assert SECRET not in json.dumps(environment)
    assert SECRET.encode() not in pool._greeting


def test_the_log_tells_what_confines_the_decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = CapturingLogger()
    monkeypatch.setattr(pool_module, "log", written)
    with DecoderPool(1, Settings(home=tmp_path)) as pool:
        pool.inspect(image_bytes()).result(SECONDS)
    assert [(call.method_name, call.args, call.kwargs) for call in written.calls] == [
        ("info", ("decoders are confined",), {"by": SECCOMP})
    ]
    assert b"\numbel_decoders_unconfined 0.0\n" in counted()


def test_a_metric_tells_of_decoders_that_seccomp_does_not_confine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python runs sitecustomize.py in each child, before it would look for libseccomp."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_LIBSECCOMP)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        with DecoderPool(1, Settings(home=tmp_path)) as pool:
            pool.inspect(image_bytes()).result(SECONDS)
            assert b"\numbel_decoders_unconfined 1.0\n" in counted()
    with DecoderPool(1, Settings(home=tmp_path)) as pool:
        pool.inspect(image_bytes()).result(SECONDS)
        assert b"\numbel_decoders_unconfined 0.0\n" in counted()


WITHOUT_LIBSECCOMP = """
import ctypes
real = ctypes.CDLL
def without(name, *given, **options):
    if name and "seccomp" in str(name):
        raise OSError(name)
    return real(name, *given, **options)
ctypes.CDLL = without
"""


def test_without_libseccomp_limits_are_left_and_no_file_can_be_opened() -> None:
    code = """
from umbel.decoding.sandbox import confine
print(confine(files=0))
open("/etc/passwd")
"""
    ran = subprocess.run([sys.executable, "-c", WITHOUT_LIBSECCOMP + code], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "limits"
    assert "Too many open files" in ran.stderr


def test_a_blob_of_a_folder_travels_as_an_open_file(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    Blobs(settings.blobs).put("pictures/a", image_bytes(1))
    with DecoderPool(1, settings) as pool:
        for _ in range(3):
            with (tmp_path / "small").open("w+b") as out:
                pool.write_thumbnail("pictures/a", out).result(SECONDS)
            assert (tmp_path / "small").read_bytes() == thumbnail(image_bytes(1), settings)
