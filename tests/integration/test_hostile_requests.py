"""Requests that no browser sends: odd headers and forms are taken, ignored or refused, and nothing fails."""

import json
import socket
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from stack.postgres import Postgres
from stack.redis import Redis
from tests.examples import examples
from tests.images import image_bytes
from tests.integration.test_server import Api
from tests.integration.uploads import add_image
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings as umbel_settings
from umbel.gallery.upload import Upload

pytestmark = pytest.mark.usefixtures("database", "redis")

END = b"--x--\r\n"
FORM = b"multipart/form-data; boundary=x"
PICTURE = image_bytes(1)


def part(disposition: bytes, data: bytes = PICTURE, more: bytes = b"") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + more + b"\r\n" + data + b"\r\n"


FILE = part(b'name="file"; filename="a.jpg"')

NAMES = {
    b"filename*=UTF-8''%e2%82%ac%20rates.jpg": "€ rates.jpg",
    b"filename=\"EURO.jpg\"; filename*=UTF-8''%e2%82%ac.jpg": "€.jpg",
    b"filename*=iso-8859-1'en'%A3.jpg": "£.jpg",
    b'filename*0="a"; filename*1="b.jpg"': "ab.jpg",
    b"filename*0*=UTF-8''%e2%82; filename*1*=%ac.jpg": None,  # a character cut in two
    b"filename*=klingon''%A3.jpg": None,
    b"filename*=UTF-8''%ff%zz.jpg": None,
    b'filename="Stra\xdfe.jpg"': "Stra�e.jpg",
    'filename="Straße.jpg"'.encode(): "Straße.jpg",
    b'filename="a\\"b.jpg"': 'a"b.jpg',
    b'filename="a%22b.jpg"': 'a"b.jpg',
    b"filename=plain.jpg": "plain.jpg",
    b'filename="a\x00b\x1b[2J.jpg"': None,
}


@pytest.mark.parametrize("header", NAMES)
def test_a_file_may_be_named_in_any_way(api: FlaskClient, header: bytes) -> None:
    body = part(b'name="file"; ' + header) + END
    image = api.post("/v1/images", data=body, content_type=FORM.decode()).get_json()["image_id"]
    name = api.get(f"/v1/images/{image}").get_json()["name"]
    assert name
    assert NAMES[header] in (None, name)


FORMS: dict[str, tuple[bytes, int, str]] = {
    "no filename": (part(b'name="file"') + END, 422, "with a filename"),
    "empty filename": (part(b'name="file"; filename=""') + END, 422, "with a filename"),
    "no bytes": (part(b'name="file"; filename="a.jpg"', b"") + END, 422, "The file is empty"),
    "no name": (part(b'filename="a.jpg"') + END, 422, "with a filename"),
    "no parts": (END, 422, "with a filename"),
    "nothing": (b"", 422, "with a filename"),
    "no end": (FILE, 400, "cut short or malformed"),
    "cut": (FILE[: len(FILE) // 2], 400, "cut short or malformed"),
    "no disposition": (b"--x\r\nfoo\r\n\r\nabc\r\n" + FILE + END, 400, "Content-Disposition"),
    "a field in Latin-1": (FILE + part(b'name="lab\xdfel"', b"a") + END, 422, "Extra inputs"),
    "a packed part": (
        part(b'name="file"; filename="a"', b"QUJD", b"Content-Transfer-Encoding: base64\r\n") + END,
        415,
        "",
    ),
    "1,500 parts": (b"".join(part(b'name="a%d"' % n, b"1") for n in range(1_500)) + FILE + END, 413, "1,000 parts"),
    "a huge field": (part(b'name="label"', b"1" * 3_000_000) + FILE + END, 413, "1,048,576 bytes"),
    "preamble": (b"hello\r\n" + FILE + END, 202, ""),
    "two files": (FILE * 2 + END, 202, ""),
    "a value twice": (FILE + part(b'name="label"', b"a") + part(b'name="label"', b"b") + END, 202, ""),
    "unknown charset": (
        FILE + part(b'name="label"', b"\xdf", b"Content-Type: text/plain; charset=klingon\r\n") + END,
        202,
        "",
    ),
    "a label as a file": (FILE + part(b'name="label"; filename="l.txt"', b"a") + END, 202, ""),
    "a long name": (part(b'name="file"; filename="' + b"a" * 100_000 + b'"') + END, 202, ""),
    "2,000 headers": (part(b'name="file"; filename="a.jpg"', PICTURE, b"X-A: b\r\n" * 2_000) + END, 202, ""),
    "line feeds": ((FILE + END).replace(PICTURE, b"PICTURE").replace(b"\r", b"").replace(b"PICTURE", PICTURE), 202, ""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_odd_form_is_taken_or_told_what_is_wrong(api: FlaskClient, form: tuple[bytes, int, str]) -> None:
    body, status, reason = form
    answer = api.post("/v1/images", data=body, content_type=FORM.decode())
    assert answer.status_code == status
    if status >= 400:
        assert answer.content_type == "application/problem+json"
    assert reason in answer.text


@pytest.mark.parametrize("content_type", ["image/jpeg", "multipart/mixed; boundary=x", "text/plain", ""])
def test_an_image_that_is_the_body_is_told_what_is_expected(api: FlaskClient, content_type: str) -> None:
    answer = api.post("/v1/images", data=PICTURE, content_type=content_type)
    assert (answer.status_code, "must be a file: a part of a multipart/form-data" in answer.text) == (422, True)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=é"]
)
def test_a_form_without_its_boundary_is_told_so(api: FlaskClient, content_type: str) -> None:
    for path in ("/v1/images", "/v1/search", "/v1/imports", "/v1/identify"):
        answer = api.post(path, data=FILE + END, content_type=content_type)
        assert (answer.status_code, "malformed" in answer.get_json()["detail"]) == (400, True)


@pytest.mark.parametrize("encoding", ["gzip", "br, gzip", "nonsense"])
@pytest.mark.parametrize("path", ["/v1/images", "/v1/search", "/v1/imports", "/v1/images:check"])
def test_a_packed_body_is_told_that_it_is_not_unpacked(api: FlaskClient, encoding: str, path: str) -> None:
    answer = api.post(path, data=b"\x1f\x8b", headers={"Content-Encoding": encoding})
    assert (answer.status_code, "Content-Encoding" in answer.get_json()["detail"]) == (415, True)


def test_identity_is_no_packing(api: FlaskClient) -> None:
    form = {"file": (BytesIO(PICTURE), "a.jpg")}
    assert api.post("/v1/images", data=form, headers={"Content-Encoding": "Identity"}).status_code == 202


HEADERS = """
    Host Origin Referer X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Prefix Forwarded
    Range If-Range If-None-Match If-Match If-Modified-Since If-Unmodified-Since Content-Type Content-Encoding
    Content-Length Transfer-Encoding Cookie Accept Accept-Encoding Accept-Language Authorization Idempotency-Key
    X-Request-ID X-CSRF-Token traceparent Sec-Fetch-Site Access-Control-Request-Method Access-Control-Request-Headers
    Expect Connection Upgrade User-Agent Date X-HTTP-Method-Override
"""
ODD = rb"""
    http://[ [ [::1 ::1] ]:[ a:b:c http://[::1]:99999999 localhost:-1 localhost:x %00 , ,,,, http://user:pass@host //
    http:// javascript:x null * ' " "\ W/ W/" bytes= bytes=- bytes=5-1 bytes=0-99999999999999999999999 bytes=a-b a=b;
    multipart/form-data application/json;charset=nonsense umbel_session="\ */*;q=nan q=inf Bearer 00-xyz -1 1e9 gzip br
    /..//evil //evil.com /a?b#c /%2e%2e evil\ Thu,99
"""
VALUES = st.one_of(
    st.sampled_from(ODD.split()),
    st.sampled_from([b"", b" ", b"\xff\xfe", b"\x01", b"\x7f", "é😀".encode(), b"x" * 3_000, b"1" * 5_000]),
    st.binary(max_size=30),
    st.text(max_size=30).map(str.encode),
    st.lists(st.sampled_from(ODD.split()), max_size=3).map(b", ".join),
    st.builds(
        bytes.__add__,
        st.sampled_from([b"Bearer ", b"Basic ", b"umbel_session=", b"bytes=", b'W/"', b"http://"]),
        st.binary(max_size=30),
    ),
)
IMAGE = b"/v1/images/IMAGE"  # with the id of one that is there
REQUESTS = [
    (b"GET", b"/v1/session", b""),
    (b"GET", b"/", b""),
    (b"GET", b"/static/app.js", b""),
    (b"GET", b"/openapi.json", b""),
    (b"OPTIONS", b"/v1/images", b""),
    (b"POST", b"/v1/images:check", b'{"sha256": []}'),
    (b"POST", b"/v1/images", FILE + END),
    (b"POST", b"/signin", b"key=x"),
    (b"DELETE", b"/v1/session", b""),
    (b"GET", b"//evil.example/%00/..", b""),
    (b"GET", IMAGE, b""),
    (b"GET", IMAGE + b"/file", b""),
    (b"HEAD", IMAGE + b"/thumbnail", b""),
    (b"PATCH", IMAGE, b"{}"),
    (b"POST", b"/v1/session", b'{"key": "x"}'),
    (b"POST", b"/v1/imports", b'{"source": {"type": "upload"}}'),
]


@pytest.fixture(scope="module", params=[False, True], ids=["open", "keys"])
def process(
    postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Api]:
    more = {"UMBEL_PROXIES": "1", "UMBEL_CORS_ORIGINS": "https://pictures.example.org"}
    more |= {"UMBEL_REQUIRE_KEYS": "true", "UMBEL_AUTH_FAILURE_LIMIT": "1000000/second"} if request.param else {}
    process = Api(tmp_path_factory.mktemp("api") / "log", patience=20, **more)
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text()


@pytest.fixture
def image(process: Api) -> bytes:
    accepted = add_image(transaction, blobs(), umbel_settings(), Upload(PICTURE))
    return str(accepted.image_id).encode()


@examples(150)
@given(
    request=st.sampled_from(REQUESTS),
    headers=st.dictionaries(st.sampled_from(HEADERS.split()).map(str.encode), VALUES, min_size=1, max_size=3),
)
def test_no_header_makes_a_request_fail(
    process: Api, image: bytes, request: tuple[bytes, bytes, bytes], headers: dict[bytes, bytes]
) -> None:
    method, path, body = request
    path = path.replace(b"IMAGE", image)
    usual = {b"Host": b"localhost", b"Content-Type": FORM, b"Content-Length": b"%d" % len(body)}
    lines = [name + b": " + value for name, value in {**usual, **headers, b"Connection": b"close"}.items()]
    with process.connect() as client:
        client.sendall(b"\r\n".join([method + b" " + path + b" HTTP/1.1", *lines, b"", body]))
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := client.recv(100_000):
            received += part
    if not received:  # the client ended before the body that it announced
        assert {b"Content-Length", b"Transfer-Encoding", b"Expect"} & set(headers)
        return
    status = int(received.split()[1])
    if status == 100:
        return
    assert status < 500 or (status, b"Transfer-Encoding" in headers) == (501, True)
    if b"\r\nContent-Type: application/problem+json\r\n" in received and method != b"HEAD":
        told = received.partition(b"\r\n\r\n")[2].decode()
        problem: dict[str, Any] = json.JSONDecoder().raw_decode(told)[
            0
        ]  # a value with line ends begins another request
        assert problem["status"] == status
    else:  # 412: of a file, about another of its name
        assert status < 400 or status == 412 or path == b"/signin" or method == b"HEAD"
