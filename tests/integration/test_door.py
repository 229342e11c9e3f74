"""What is refused at the header: before a body is read, and without a `100 Continue` that would ask for it."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.test_server import Api
from tests.processes import eventually
from umbel.access.keys import KeyScope, create_key, new_key, revoke_key
from umbel.base.database import transaction
from umbel.base.settings import settings

GIGABYTES = 15 * 10**9  # less than an import may have
EXPECT = "Expect: 100-continue"


@pytest.fixture(scope="module")
def api(postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """It requires keys."""
    process = Api(tmp_path_factory.mktemp("api") / "log", patience=30, UMBEL_REQUIRE_KEYS="true")
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text()


def make_key(scope: KeyScope = KeyScope.WRITE, *collections: str) -> str:
    with transaction() as session:
        return create_key(session, name="door", scope=scope, collections=collections, actor="test")[0]


def send(client: socket.socket, line: str, *headers: str, body: bytes = b"") -> None:
    head = "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""])
    client.sendall(head.encode("latin-1") + body)


def received(client: socket.socket) -> tuple[int, dict[str, str], Any]:
    """The answer, which the server ends: status, headers, problem."""
    data = b""
    while part := client.recv(100_000):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(body)


def refused(api: Api, line: str, *headers: str, body: bytes = b"") -> tuple[int, str]:
    """Status and code of what is answered although the body is not sent; the connection ends with it."""
    with api.connect() as client:
        send(client, line, *headers, body=body)
        status, told, problem = received(client)
    assert told["Connection"] == "close"
    assert told["Content-Type"] == "application/problem+json"
    assert (problem["status"], problem["request_id"]) == (status, told["X-Request-Id"])
    assert no_spooled_files(api)
    return status, problem["code"]


def no_spooled_files(api: Api) -> bool:
    spool = str(settings().home / "spool")
    for process in psutil.Process(api.pid).children():
        for number in os.listdir(f"/proc/{process.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{process.pid}/fd/{number}")
            except FileNotFoundError:
                continue
            if target.startswith(spool):
                return False
    return True


BODIES = {
    "small": ["Content-Length: 100"],
    "large": [f"Content-Length: {GIGABYTES}"],
    "chunked": ["Transfer-Encoding: chunked"],
}


@pytest.mark.parametrize("expect", [[], [EXPECT]], ids=["at once", "expect"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("credential", [[], ["Authorization: Basic dTpw"], ["Cookie: umbel_session=x; other=y"]])
def test_a_stranger_is_refused_at_the_header(
    api: Api, body: list[str], expect: list[str], credential: list[str]
) -> None:
    assert refused(api, "POST /v1/imports", *credential, *body, *expect) == (401, "unauthenticated")


def test_a_wrong_key_is_refused_at_the_header(api: Api) -> None:
    key = make_key()
    with transaction() as session:
        revoke_key(session, key.split("_")[1], actor="test")
    for wrong in (new_key(), key, "\xe9"):
        answer = refused(api, "POST /v1/imports", f"Authorization: Bearer {wrong}", *BODIES["large"], EXPECT)
        assert answer == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        ("POST /v1/imports", 403, "forbidden"),
        ("POST /v1/nothing", 404, "not_found"),
        ("PUT /v1/imports", 405, "method_not_allowed"),
    ],
)
def test_a_key_without_a_right_to_it_is_refused_at_the_header(api: Api, line: str, status: int, code: str) -> None:
    key = f"Authorization: Bearer {make_key(KeyScope.READ)}"
    assert refused(api, line, key, "Content-Length: 20000000", EXPECT) == (status, code)


def test_another_name_is_refused_at_the_header(api: Api) -> None:
    with api.connect() as client:
        client.sendall(b"POST /v1/imports HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 9000000\r\n\r\n")
        assert received(client)[0] == 400


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("POST /v1/images", 10**11),
        ("POST /v1/imports", 10**11),
        ("POST /signin", 10**6),
        ("POST /v1/session", 10**6),
        ("GET /healthz", 10**6),
        ("DELETE /v1/session", 10**6),
    ],
)
@pytest.mark.parametrize("expect", [[], [EXPECT]], ids=["at once", "expect"])
def test_what_is_too_large_is_never_asked_for(api: Api, line: str, size: int, expect: list[str]) -> None:
    key = f"Authorization: Bearer {make_key()}"
    assert refused(api, line, key, f"Content-Length: {size}", *expect) == (413, "content_too_large")


@pytest.mark.parametrize("line", ["POST /v1/images", "POST /signin"])
def test_chunks_that_become_too_large_are_refused(api: Api, line: str) -> None:
    with api.connect() as client:
        send(client, line, f"Authorization: Bearer {make_key()}", "Transfer-Encoding: chunked")
        chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
        client.settimeout(0.01)
        answered = b""
        for _ in range(100):
            try:
                answered = client.recv(1)
                break
            except TimeoutError:
                client.settimeout(20)
                client.sendall(chunk)
                client.settimeout(0.01)
        client.settimeout(20)
        while part := client.recv(100_000):
            answered += part
    assert answered.startswith(b"HTTP/1.1 413 ")
    eventually(lambda: no_spooled_files(api))


@pytest.mark.parametrize("chunks", [b"1" * 100_000, b"0\r\n" + b"X-Trailer: 1\r\n" * 10_000])
def test_chunks_whose_frame_never_ends_are_refused(api: Api, chunks: bytes) -> None:
    key = f"Authorization: Bearer {make_key()}"
    answer = refused(api, "POST /v1/images:check", key, "Transfer-Encoding: chunked", body=chunks)
    assert answer == (400, "bad_request")


@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, more", "\xe9"])
def test_an_unknown_expectation_is_told(api: Api, expectation: str) -> None:
    for more in ([], ["Content-Length: 100"]):
        assert refused(api, "GET /healthz", f"Expect: {expectation}", *more) == (417, "expectation_failed")


def test_an_expectation_without_a_body_keeps_the_connection(api: Api) -> None:
    with api.connect() as client:
        send(client, "GET /healthz", EXPECT, "Content-Length: 0")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        eventually(lambda: client.recv(10_000).endswith(b"}\n"))
        send(client, "GET /healthz")
        assert client.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("size", ["Content-Length: {}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("large", [False, True])
def test_who_may_send_it_is_asked_for_it(api: Api, database: None, size: str, large: bool) -> None:
    """Once as a stranger to the process, and then known to it."""
    key = f"Authorization: Bearer {make_key()}"
    picture = image_bytes(1) + bytes(2**22 if large else 0)  # what follows a picture's end is no part of it
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    body = form if "{}" in size else b"%x\r\n%b\r\n0\r\n\r\n" % (len(form), form)
    kind = "Content-Type: multipart/form-data; boundary=x"
    for _ in range(3):
        with api.connect() as client:
            send(client, "POST /v1/images", key, kind, size.format(len(form)), EXPECT)
            assert client.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(body)
            assert client.recv(12) in (b"HTTP/1.1 202", b"HTTP/1.1 200")


def test_requests_behind_another_keep_their_order(api: Api) -> None:
    """Pipelined: the answers come in order, and one at the door neither overtakes nor is forgotten."""
    key = f"Authorization: Bearer {make_key()}"
    with api.connect() as client:
        send(client, "GET /healthz")
        send(client, "POST /v1/images:check", key, "Content-Type: application/json", "Content-Length: 14", EXPECT)
        heard = b""
        while b"100 Continue" not in heard:
            heard += client.recv(10_000)
        assert heard.startswith(b"HTTP/1.1 200 OK")
        client.sendall(b'{"sha256": []}')
        send(client, "POST /v1/imports", "Content-Length: 100")
        rest = b""
        while part := client.recv(10_000):
            rest += part
    assert (rest.startswith(b"HTTP/1.1 200 OK"), b"HTTP/1.1 401 " in rest) == (True, True)


@pytest.mark.parametrize("path", ["/signin", "/v1/session"])
def test_strangers_may_sign_in(api: Api, path: str, tmp_path: Path) -> None:
    key = make_key()
    kind, body = ("application/json", json.dumps({"key": key})) if "session" in path else ("", f"key={key}")
    kind = kind or "application/x-www-form-urlencoded"
    with api.connect() as client:
        send(client, f"POST {path}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", EXPECT)
        assert client.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body.encode())
        assert client.recv(12) in (b"HTTP/1.1 303", b"HTTP/1.1 201")
