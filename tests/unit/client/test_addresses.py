"""Addresses and keys as people write them, and servers that are not Umbel: told, in one line, without a password."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from umbel_client import Umbel, UmbelClientError, UnexpectedAnswer, Unreachable

PASSWORD = "hush-4711"


@contextmanager
def server_that_says(body: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    """The address of a server that gives this one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("url", ["nonsense", "localhost:8080", "127.0.0.1:8080", "http://", "ftp://h", "http://h:port"])
def test_what_is_no_url_is_told(url: str) -> None:
    with pytest.raises(Unreachable, match="http://host:port"):
        Umbel(url)


def test_spaces_and_line_ends_around_address_and_key_are_left_out() -> None:
    with server_that_says(b'{"items": [], "next_cursor": null}') as url:
        assert list(Umbel(f" {url}\n", key=" key\n").models.list()) == []


def test_a_key_that_no_header_can_hold_is_told_and_not_shown() -> None:
    with pytest.raises(UmbelClientError, match="key") as raised:
        Umbel("http://127.0.0.1:1", key=f"{PASSWORD}\x07")
    assert PASSWORD not in str(raised.value)


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(Unreachable, match="No answer from http://127") as raised:
        Umbel(f"http://me:{PASSWORD}@127.0.0.1:1", retries=0).images.check([])
    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("body", [b"<html>Welcome to nginx!</html>", b"", b"[]", b"null", b'"text"', b"\xff\xfe"])
def test_a_server_that_is_not_umbel_is_told(body: bytes) -> None:
    with server_that_says(body) as url, pytest.raises(UnexpectedAnswer, match="Is the address right"):
        Umbel(url).ready()


def test_an_answer_without_its_field_is_told() -> None:
    with server_that_says(b"{}") as url, pytest.raises(UnexpectedAnswer, match="no field items"):
        list(Umbel(url).models.list())


def test_where_an_address_leads_elsewhere_it_is_told_where() -> None:
    there = "https://umbel.example.org/"
    with server_that_says(b"", 301, Location=there) as url, pytest.raises(UnexpectedAnswer, match=there):
        list(Umbel(url).models.list())
