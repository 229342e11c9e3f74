"""Fetching from a real server on this machine, with loopback allowed where the test says so."""

import datetime
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.picture_server import IMAGE, Server, serving
from umbel.base.errors import AddressRefused, FileTooLarge, TransientError, Unreadable
from umbel.base.outbound import url_fault
from umbel.base.settings import Settings
from umbel.imports.sources.web import Web

ON = Settings(import_urls=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def url(server: Server, path: str = "/picture", host: str = "127.0.0.1", scheme: str = "http") -> str:
    return f"{scheme}://{host}:{server.server_port}{path}"


def web(**settings: object) -> Web:
    """One that may fetch from anywhere."""
    return Web(Settings(import_urls=True, **settings), allowed=lambda address: True)  # type: ignore[arg-type]


def named(*addresses: str) -> Web:
    """One for which every host has these addresses."""
    return Web(ON, allowed=lambda address: True, resolve=lambda host, port: list(addresses))


def test_a_picture_is_fetched(server: Server) -> None:
    assert web().fetch(url(server)) == IMAGE


def test_many_threads_fetch_at_once(server: Server) -> None:
    fetcher = web()
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(fetcher.fetch, [url(server)] * 40)) == {IMAGE}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]"])
def test_this_machine_is_refused_however_it_is_spelt(host: str, server: Server) -> None:
    with pytest.raises(AddressRefused):
        Web(ON).fetch(url(server, host=host))
    assert server.paths == []


@pytest.mark.parametrize("listed", ["pictures.test", ".test", "127.0.0.0/8", "*"])
def test_a_host_that_the_operator_lists_may_be_private(listed: str, server: Server) -> None:
    fetcher = Web(Settings(import_urls=True, private_hosts=(listed,)), resolve=lambda host, port: ["127.0.0.1"])
    assert fetcher.fetch(url(server, host="pictures.test")) == IMAGE
    with pytest.raises(AddressRefused):
        Web(
            Settings(import_urls=True, private_hosts=("other.test", "10.0.0.0/8")),
            resolve=lambda host, port: ["127.0.0.1"],
        ).fetch(url(server, host="pictures.test"))


def test_a_host_with_any_address_that_is_not_public_is_refused(server: Server) -> None:
    fetcher = Web(ON, resolve=lambda host, port: ["1.1.1.1", "127.0.0.1"])
    with pytest.raises(AddressRefused):
        fetcher.fetch(url(server, host="pictures.test"))


def test_a_host_is_resolved_once_and_that_address_is_used(server: Server) -> None:
    """A name that leads to a public address while it is checked and to this machine afterwards gains nothing."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    checked: list[str] = []
    fetcher = Web(
        ON,
        allowed=lambda address: not checked.append(address),  # type: ignore[func-returns-value]
        resolve=lambda host, port: next(answers),
    )
    assert fetcher.fetch(url(server, host="pictures.test")) == IMAGE
    assert checked == ["127.0.0.1"]


def test_the_server_sees_the_name_of_the_url(server: Server) -> None:
    named("127.0.0.1").fetch(url(server, host="pictures.test"))
    assert server.hosts == [f"pictures.test:{server.server_port}"]


def test_the_next_address_is_tried_when_one_does_not_answer(server: Server) -> None:
    assert named("127.0.0.2", "127.0.0.1").fetch(url(server, host="pictures.test")) == IMAGE


def test_path_and_query_arrive_as_they_are(server: Server) -> None:
    web().fetch(url(server, "/picture/a%2Fb ä?x=1&y=%20#fragment"))
    assert server.paths == ["/picture/a%2Fb%20%C3%A4?x=1&y=%20"]


def test_redirects_are_not_followed(server: Server) -> None:
    with pytest.raises(Unreadable, match="redirect"):
        web().fetch(url(server, "/redirect"))
    assert server.paths == ["/redirect"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206])
def test_an_answer_without_a_picture_is_unreadable(status: int, server: Server) -> None:
    with pytest.raises(Unreadable):
        web().fetch(url(server, f"/status/{status}"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_change_is_worth_another_try(status: int, server: Server) -> None:
    with pytest.raises(TransientError):
        web().fetch(url(server, f"/status/{status}"))


def test_too_much_content_is_refused(server: Server) -> None:
    with pytest.raises(FileTooLarge):
        web(max_bytes=len(IMAGE)).fetch(url(server, "/huge"))


def test_content_that_breaks_off_is_worth_another_try(server: Server) -> None:
    with pytest.raises(TransientError):
        web().fetch(url(server, "/short"))


@pytest.mark.parametrize("path", ["/slow", "/silent"])
def test_time_is_limited_in_all(path: str, server: Server) -> None:
    with pytest.raises(TransientError, match="in time"):
        web(url_seconds=0.3).fetch(url(server, path))


def test_a_server_that_is_not_there_is_worth_another_try(server: Server) -> None:
    with pytest.raises(TransientError):
        named("127.0.0.2").fetch(url(server))


def test_an_unknown_host_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        web().fetch("http://no-such-host.invalid/a.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com/a.jpg",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://",
        "http://user:secret@example.com/",
        "http://user@example.com/",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://example.com/\r\nHost: other",
        "javascript:alert(1)",
        "",
    ],
)
def test_what_is_no_plain_url_is_refused_by_its_text(text: str) -> None:
    assert url_fault(text)
    with pytest.raises(AddressRefused):
        web().fetch(text)


@pytest.fixture
def tls_server(server: Server, tmp_path: Path) -> tuple[Server, ssl.SSLContext]:
    """The server with a certificate for pictures.test, and a context that trusts nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pictures.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pictures.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "server.pem").write_bytes(pem + secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server, ssl.create_default_context(cadata=pem.decode())


def secure(tls: ssl.SSLContext) -> Web:
    return Web(ON, allowed=lambda address: True, resolve=lambda host, port: ["127.0.0.1"], tls=tls)


def test_tls_is_checked_against_the_name_of_the_url(tls_server: tuple[Server, ssl.SSLContext]) -> None:
    server, tls = tls_server
    assert secure(tls).fetch(url(server, host="pictures.test", scheme="https")) == IMAGE


def test_a_certificate_for_another_name_is_refused(tls_server: tuple[Server, ssl.SSLContext]) -> None:
    server, tls = tls_server
    with pytest.raises(Unreadable, match="certificate"):
        secure(tls).fetch(url(server, host="other.test", scheme="https"))
