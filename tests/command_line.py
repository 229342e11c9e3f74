"""The command `umbel` run by this process: a process of its own spends a second on imports before it does anything.

Not for what opens another database through `umbel.base.database`, whose engine a process keeps, nor for what the system
does around a process: signals, closed pipes, full disks, psql in its place.
"""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import structlog

from cli.main import main
from umbel.base.blobs import blobs
from umbel.base.settings import settings


def umbel_here(
    *arguments: str, stdin: bytes = b"", cwd: Path | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """How the command ends and what it writes, with these variables besides ours. stdin: less than a pipe holds."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        pytest.MonkeyPatch.context() as patch,
        _own_settings(),
        _own_logging(),
        _piped(stdin),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["umbel", *arguments])
        for name, value in environment.items():
            patch.setenv(name, value)
        if cwd:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            main()
    written = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, ended.value.code, *written)  # type: ignore[arg-type]


@contextmanager
def _own_settings() -> Iterator[None]:
    made_of_settings = (settings, blobs)
    for each in made_of_settings:
        each.cache_clear()
    try:
        yield
    finally:
        for each in made_of_settings:
            each.cache_clear()


@contextmanager
def _own_logging() -> Iterator[None]:
    """The command's logging ends with it."""
    root = logging.getLogger()
    handlers, level, configured, ours = root.handlers[:], root.level, structlog.is_configured(), structlog.get_config()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if configured:
            structlog.configure(**ours)
        else:
            structlog.reset_defaults()


@contextmanager
def _piped(data: bytes) -> Iterator[None]:
    """File descriptor 0 is a pipe that holds `data`."""
    kept = os.dup(0)
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)
    stdin, sys.stdin = sys.stdin, open(0, closefd=False)  # noqa: SIM115 - pytest's own refuses to be read
    try:
        yield
    finally:
        sys.stdin = stdin
        os.dup2(kept, 0)
        os.close(kept)
