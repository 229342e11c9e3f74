"""Fetching a URL that somebody else chose: from public addresses only, without redirects, within bytes and time."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

from umbel.base.errors import AddressRefused, FileTooLarge, ImageError, UmbelError, Unreachable, Unreadable
from umbel.base.settings import Settings
from umbel.imports.sources.addresses import is_public

HEADERS = [("User-Agent", "umbel"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]
HOST = re.compile(rb"[A-Za-z0-9_.:-]+")
TRY_AGAIN = (408, 425, 429)
FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
)

Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host, the system's resolver deciding also what an IP address is. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def refusal(text: str) -> str | None:
    """Why a URL is not even tried, by its text alone; None if it is."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return "is no valid URL"
    if url.scheme not in ("http", "https") or not HOST.fullmatch(url.raw_host) or not 0 < (url.port or 80) < 2**16:
        return "is not an http or https URL"
    return "contains a user name or password" if url.userinfo else None


class Web:
    """Fetches URLs; thread-safe, as nothing is shared between two fetches.

    A host is resolved once, every address it has is checked, and the connection goes to one of these very addresses,
    so a name that leads elsewhere a moment later gains nothing. Host header and TLS server name stay the URL's.
    The resolver itself is bound by the system's time limits, not by `url_seconds`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        allowed: Callable[[str], bool] = is_public,
        resolve: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes, self._seconds = settings.max_bytes, settings.url_seconds
        self._allowed, self._resolve = allowed, resolve
        self._tls = tls

    def fetch(self, text: str) -> bytes:
        """The content behind a URL. Raises AddressRefused, FileTooLarge, Unreadable, Unreachable."""
        if reason := refusal(text):
            raise AddressRefused(f"The URL {reason}.")
        url = httpx.URL(text)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        network = PinnedNetwork(self._allowed, self._resolve, time.monotonic() + self._seconds)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls or _usual_tls(), network_backend=network) as pool,
                pool.stream("GET", target, headers=HEADERS) as response,
            ):
                return self._content(response)
        except FAILURES as error:
            raise _failure(error) from error

    def _content(self, response: httpcore.Response) -> bytes:
        if response.status != 200:
            raise _refused_status(response.status)
        data = bytearray()
        for chunk in response.iter_stream():
            data += chunk
            if len(data) > self._max_bytes:
                raise FileTooLarge(f"The file has more than the {self._max_bytes:,} bytes that are taken.")
        return bytes(data)


class PinnedNetwork(httpcore.NetworkBackend):
    """Connects to checked addresses only, and lets nothing take longer than until the deadline."""

    def __init__(self, allowed: Callable[[str], bool], resolve: Resolver, deadline: float) -> None:
        self._allowed, self._resolve, self._deadline = allowed, resolve, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._checked(host, port):
            try:
                stream = httpcore.SyncBackend().connect_tcp(
                    address, port, _left(self._deadline), local_address, socket_options
                )
                return _TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _checked(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(host, port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Unreachable(f"The host {host!r} cannot be resolved now.") from error
            raise Unreadable(f"There is no host {host!r}.") from error
        except (OSError, UnicodeError) as error:
            raise Unreadable(f"The host {host!r} cannot be resolved.") from error
        if not all(map(self._allowed, addresses)):
            raise AddressRefused(f"The host {host!r} has an address that is not public.")
        return addresses


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step has only the time that is left in all."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _TimedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@cache
def _usual_tls() -> ssl.SSLContext:
    return httpcore.default_ssl_context()  # reading all the certificates takes some 20 ms


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("no time left")
    return left


def _refused_status(status: int) -> ImageError | Unreachable:
    if status in TRY_AGAIN or status >= 500:
        return Unreachable(f"The server answered {status}.")
    if 300 <= status < 400:
        return Unreadable(f"The server answered {status}, and redirects are not followed.")
    return Unreadable(f"The server answered {status}.")


def _failure(error: Exception) -> UmbelError:
    if isinstance(error, httpcore.TimeoutException):
        return Unreachable("The server did not answer in time.")
    if isinstance(error.__context__, ssl.SSLCertVerificationError):
        return Unreadable("The server's certificate is not valid for its name.")
    return Unreachable(f"Fetching failed: {str(error) or type(error).__name__}.")
