"""Files, pipes and folders as people name them: taken where they can be, else told in one line."""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from umbel_client import Umbel
from umbel_client.folder import list_images

from cli import pictures
from cli.imports import Outcome, file_facts, import_sources, source_facts
from cli.output import progress
from cli.pictures import content_of
from tests.command_line import umbel_here
from tests.images import image_bytes
from umbel.base.errors import Unreadable
from umbel.base.settings import settings

NOBODY = 65534


def umbel(*arguments: str, stdin: bytes = b"", cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return umbel_here("--url", "http://127.0.0.1:1", *arguments, stdin=stdin, cwd=cwd)


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom permissions concern."""
    if root := os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def fifo(folder: Path, data: bytes | None) -> Path:
    """A FIFO, and who writes to it; None: nobody."""
    path = folder / "pipe"
    os.mkfifo(path)
    if data is not None:
        threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return path


def test_a_pipe_that_holds_a_picture_is_read(tmp_path: Path) -> None:
    data = image_bytes(1) * 20  # longer than a pipe holds at once
    assert content_of(fifo(tmp_path, data)) == data


def test_a_pipe_to_which_nothing_writes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "FIRST_BYTE_SECONDS", 0.1)
    with pytest.raises(Unreadable, match="Nothing came"):
        content_of(fifo(tmp_path, None))


def test_a_pipe_that_holds_nothing_is_told() -> None:
    with pytest.raises(Unreadable, match="holds nothing"):
        content_of(Path("/dev/null"))


def test_no_more_is_read_of_an_endless_pipe_than_the_service_would_refuse() -> None:
    assert len(content_of(Path("/dev/zero"))) == settings().max_bytes + 1


@pytest.mark.parametrize("command", ["import", "similar", "identify"])
def test_a_picture_on_stdin_goes_to_the_service(command: str) -> None:
    seen = umbel(command, "/dev/stdin", stdin=image_bytes(1))
    assert (seen.returncode, "No answer from http://127.0.0.1:1" in seen.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [("similar", "/dev/null"), ("identify", "/dev/null"), ("import", "/dev/null")])
def test_an_empty_pipe_is_one_line(arguments: tuple[str, ...]) -> None:
    seen = umbel(*arguments)
    assert (seen.returncode, seen.stdout, seen.stderr) == (1, "", "umbel: /dev/null: It holds nothing.\n")


def test_a_name_like_an_option_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "-rf.jpg").write_bytes(image_bytes(1))
    seen = umbel("import", "--", "-rf.jpg", cwd=tmp_path)
    assert (seen.returncode, "No answer from" in seen.stderr) == (1, True)


def test_a_folder_without_pictures_is_an_error_that_says_what_it_held(tmp_path: Path) -> None:
    for name, data in {"a.jxl": b"\xff\x0a123", "b.txt": b"b", "c.json": b"{}", "d.json": b"{}"}.items():
        (tmp_path / name).write_bytes(data)
    seen = umbel("import", str(tmp_path))
    told = "umbel: Nothing was imported: 1 JPEG XL, 3 other files (2 .json, 1 .txt).\n"
    assert (seen.returncode, seen.stderr) == (1, told)
    assert "JPEG XL is not supported yet." in seen.stdout


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    seen = umbel("import", str(tmp_path))
    assert (seen.returncode, seen.stderr) == (1, "umbel: Nothing was imported: there is no file in it.\n")


def test_an_archive_that_cannot_be_read_does_not_keep_the_others_out() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        paths = [f"{folder}/{name}" for name in ("forbidden.zip", "missing.zip", "folder.zip")]
        Path(paths[0]).touch(0)
        Path(paths[2]).mkdir()
        with progress(quiet=True) as bars, Umbel("http://127.0.0.1:1") as api, without_rights():
            jobs, rejected = import_sources(api, paths, on_server=False, wait=False, bars=bars, base=None)
    assert jobs == []
    assert [*rejected.values()] == ["Permission denied", "No such file or directory", "Is a directory"]


def test_imports_of_files_and_of_sources_are_told_in_one_shape() -> None:
    assert file_facts(Outcome(), list_images([])).keys() == source_facts([], {}).keys()
