"""Fetching URLs of images: from public addresses only, without redirects, within limits of bytes and time."""

import ssl
from collections.abc import Callable

import httpcore
import httpx

from umbel.base.errors import AddressRefused, FileTooLarge, ImageError, UmbelError, Unreachable, Unreadable
from umbel.base.outbound import FAILURES, PinnedNetwork, Resolver, is_public, resolve, url_fault, usual_tls
from umbel.base.settings import Settings

HEADERS = [("User-Agent", "umbel"), ("Accept", "image/*"), ("Accept-Encoding", "identity")]
TRY_AGAIN = (408, 425, 429)
URLS_ARE_OFF = "URLs are not fetched by this server (UMBEL_IMPORT_URLS)."


class Web:
    """Fetches URLs, through `PinnedNetwork`. Thread-safe: fetches share nothing."""

    def __init__(
        self,
        settings: Settings,
        *,
        allowed: Callable[[str], bool] = is_public,
        resolve: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._on, self._max_bytes, self._seconds = settings.import_urls, settings.max_bytes, settings.url_seconds
        self._private, self._allowed, self._resolve = settings.private_hosts, allowed, resolve
        self._tls = tls

    def fetch(self, text: str) -> bytes:
        """The content behind a URL. Raises AddressRefused, FileTooLarge, Unreadable, Unreachable."""
        if not self._on:
            raise AddressRefused(URLS_ARE_OFF)
        if reason := url_fault(text):
            raise AddressRefused(f"The URL {reason}.")
        url = httpx.URL(text)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        network = PinnedNetwork(self._seconds, private=self._private, allowed=self._allowed, resolve=self._resolve)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls or usual_tls(), network_backend=network) as pool,
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


def shown_url(url: str) -> str:
    """The URL without parts that may be secret: the user and password, the query and the fragment."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return url.partition("?")[0]
