"""The client against a real server that answers by a script: what it repeats, what it does not, what it says."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from umbel_client import (
    ApiError,
    Conflict,
    NotEmbedded,
    NotFound,
    TooManyRequests,
    Umbel,
    UmbelClientError,
    Unreachable,
)
from umbel_client import connection as connection_module
from umbel_client.connection import Connection
from umbel_client.errors import BY_STATUS, error_of

Answer = tuple[int, dict[str, str], Any]
HANG_UP: Answer = (0, {}, None)
ACCEPTED: Answer = (202, {}, {"image_id": str(uuid4()), "job_id": str(uuid4()), "status": "queued"})
NOT_NOW: Answer = (503, {"Retry-After": "0"}, {"detail": "not ready", "code": "not_ready"})


class Script(ThreadingHTTPServer):
    """Gives the answers in order, the last of them for ever; keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Script
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        status, headers, body = self.server.answers[0]
        if len(self.server.answers) > 1:
            del self.server.answers[0]
        if not status:
            self.close_connection = True
            return
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def answering(*answers: Answer) -> Iterator[Script]:
    with Script(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.delenv("UMBEL_KEY", raising=False)
    monkeypatch.delenv("UMBEL_URL", raising=False)


def test_what_is_not_ready_is_asked_again_until_it_is() -> None:
    with answering(
        NOT_NOW, NOT_NOW, (200, {}, {"name": "garden", "images": 1, "created_at": "2026-01-01T00:00:00Z"})
    ) as server:
        assert Umbel(server.url).collections.get("garden").images == 1
    assert len(server.asked) == 3


def test_an_image_that_waits_for_its_vector_is_searched_by_again_other_conflicts_are_not() -> None:
    waiting: Answer = (409, {"Retry-After": "0"}, {"detail": "not embedded yet", "code": "not_embedded"})
    conflict: Answer = (409, {}, {"detail": "it is there", "code": "conflict"})
    with answering(waiting, waiting, conflict) as server:
        with pytest.raises(Conflict) as raised:
            Umbel(server.url).collections.get("garden")
        assert (len(server.asked), type(raised.value)) == (3, Conflict)
    with answering(waiting) as server, pytest.raises(NotEmbedded):
        Umbel(server.url, retries=0).collections.get("garden")


def test_an_upload_is_repeated_under_one_idempotency_key_and_another_has_another() -> None:
    with answering(HANG_UP, NOT_NOW, ACCEPTED) as server, Umbel(server.url) as umbel:
        umbel.images.upload(b"a")
        umbel.images.upload(b"b")
    keys = [headers["Idempotency-Key"] for _, _, headers in server.asked]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


def test_what_may_not_be_done_twice_is_not_repeated_when_the_answer_was_lost() -> None:
    with answering(HANG_UP, (202, {}, {"job_id": str(uuid4())})) as server, Umbel(server.url) as umbel:
        with pytest.raises(Unreachable):
            umbel.imports.folder("/pictures")
        assert len(server.asked) == 1


def test_patience_ends_with_the_error_of_the_last_answer() -> None:
    full: Answer = (429, {"Retry-After": "0"}, {"detail": "full", "code": "queue_full", "request_id": "r1"})
    with answering(full) as server, pytest.raises(TooManyRequests) as caught:
        Umbel(server.url, retries=2).images.upload(b"a")
    assert len(server.asked) == 3
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (429, "queue_full", "r1")


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(as_date: bool) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # dates have no fractions
    again = (429, {"Retry-After": moment if as_date else "1"}, {})
    with answering(again, (200, {}, {"items": [], "next_cursor": None})) as server:
        began = time.monotonic()
        assert list(Umbel(server.url).models.list()) == []
        assert 0.9 < time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["soon", "", "-5", "Fri, 27 Nov 2026 00:00:00"])
def test_a_retry_after_that_says_nothing_is_passed_over(text: str) -> None:
    with answering((503, {"Retry-After": text}, {}), (200, {}, {"items": [], "next_cursor": None})) as server:
        assert list(Umbel(server.url).models.list()) == []


def test_the_key_is_sent_as_bearer_and_comes_from_the_environment_if_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    empty: Answer = (200, {}, {"items": [], "next_cursor": None})
    with answering(empty) as server:
        list(Umbel(server.url).models.list())
        list(Umbel(server.url, key="given").models.list())
        monkeypatch.setenv("UMBEL_KEY", "found")
        monkeypatch.setenv("UMBEL_URL", server.url)
        list(Umbel().models.list())
    sent = [headers.get("Authorization") for _, _, headers in server.asked]
    assert sent == [None, "Bearer given", "Bearer found"]


def test_a_key_is_not_carried_to_where_an_answer_points() -> None:
    with answering((200, {}, {})) as elsewhere, answering((302, {"Location": elsewhere.url}, {})) as server:
        Connection(server.url, key="secret", timeout=5, retries=0).request("GET", "/v1/models")
        assert elsewhere.asked == []


def test_pages_are_fetched_as_they_are_reached() -> None:
    row = {"name": "a", "images": 0, "created_at": "2026-01-01T00:00:00Z"}
    first, last = ({"items": [row, row], "next_cursor": "a/b"}, {"items": [row], "next_cursor": None})
    with answering((200, {}, first), (200, {}, last)) as server, Umbel(server.url) as umbel:
        found = umbel.collections.list()
        next(found)
        assert len(server.asked) == 1
        assert len(list(found)) == 2
    assert [path for _, path, _ in server.asked] == ["/v1/collections", "/v1/collections?cursor=a%2Fb"]


def test_every_refusal_is_an_error_of_its_own() -> None:
    assert isinstance(error_of(404, {"detail": "gone"}), NotFound)
    assert type(error_of(418, {"title": "teapot"})) is ApiError
    assert all(issubclass(kind, UmbelClientError) for kind in BY_STATUS.values())


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ({"json": {"name": ["too long", "odd"], "k": ["no number"]}}, "Not taken: name: too long, odd; k: no number."),
        (None, "Not taken."),
        ({"json": "text"}, "Not taken."),
        (["x"], "Not taken."),
    ],
)
def test_an_error_says_which_fields_are_wrong(errors: Any, told: str) -> None:
    assert error_of(422, {"detail": "Not taken.", "code": "invalid_input", "errors": errors}).detail == told


def test_an_answer_that_is_no_problem_is_still_an_error() -> None:
    with answering((502, {}, ["from a proxy"])) as server, pytest.raises(ApiError, match="from a proxy"):
        Umbel(server.url, retries=0).images.check([])


def test_a_download_is_asked_for_again_and_leaves_no_file_when_it_is_cut_short(tmp_path: Path) -> None:
    cut_short: Answer = (200, {"Content-Length": "1000", "Connection": "close"}, {})
    with answering(NOT_NOW, cut_short) as server, pytest.raises(Unreachable):
        Umbel(server.url).export(tmp_path / "a.npz", filter={"label": ["rose"]})
    assert (len(server.asked), list(tmp_path.iterdir())) == (2, [])


def test_nobody_there_is_said_in_one_line() -> None:
    with answering() as server:
        pass
    with pytest.raises(Unreachable, match="umbel up"):
        Umbel(server.url, retries=1).images.check([])


def test_text_that_is_no_unicode_is_sent_with_question_marks(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (tmp_path / f"{odd}.zip").write_bytes(b"PK")
    with answering(ACCEPTED) as server, Umbel(server.url) as umbel:
        umbel.images.upload(b"bytes", label=odd, name=odd, metadata={odd: [odd]})
        umbel.imports.file(tmp_path / f"{odd}.zip", base=odd)
        umbel.imports.folder(odd, label_from_folder=True)
        with pytest.raises(UmbelClientError):  # this answer is none to a list
            list(umbel.images.list(label=odd))
    assert [path for _, path, _ in server.asked] == [
        "/v1/images",
        "/v1/imports",
        "/v1/imports",
        "/v1/images?label=caf%3F",
    ]
