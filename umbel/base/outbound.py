"""Connections to addresses that others name: to public ones only, unless the operator allows a host by its name.

Imports fetch URLs through it, and webhooks are delivered through it.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpcore
import httpx

from umbel.base.errors import AddressRefused, Unreachable, Unreadable
from umbel.base.hosts import is_listed

HOST = re.compile(rb"[A-Za-z0-9_.:-]+")
FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
)

# Not public, though some versions of Python treat them as such. Source: IANA special-purpose address registries.
NOT_PUBLIC = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
        *("64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10"),
        "168.63.129.16/32",  # the host of every Azure machine
    )
]
NAT64 = ip_network("64:ff9b::/96")
COMPATIBLE = ip_network("::/96")

Resolver = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a host name or IP address, by the system's resolver. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, including the IPv4 address that it may embed."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (inner := _embedded(ip)) is not None:
        return is_public(str(inner))
    rejected = any(ip in network for network in NOT_PUBLIC if network.version == ip.version)
    return ip.is_global and not (rejected or ip.is_multicast or ip.is_reserved)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets for this IPv6 address may go: mapped, compatible, NAT64 or 6to4."""
    if ip in NAT64 or ip in COMPATIBLE:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def url_fault(text: str) -> str | None:
    """What is wrong with the text of a URL that must not be fetched; None: nothing."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return "is no valid URL"
    if url.scheme not in ("http", "https") or not HOST.fullmatch(url.raw_host) or not 0 < (url.port or 80) < 2**16:
        return "is not an http or https URL"
    return "contains a user name or password" if url.userinfo else None


class PinnedNetwork(httpcore.NetworkBackend):
    """Connects to checked addresses only; every step ends after `seconds`.

    A host is resolved once, all its addresses are checked, and the connection goes to one of the checked addresses, so
    a name that resolves differently a moment later changes nothing. Host header and TLS server name stay the URL's.
    The resolver is bound by the system's time limits, not by `seconds`.
    private: hosts that may have addresses that are not public, as the setting `private_hosts` lists them.
    """

    def __init__(
        self,
        seconds: float,
        *,
        private: Sequence[str] = (),
        allowed: Callable[[str], bool] = is_public,
        resolve: Resolver = resolve,
    ) -> None:
        self._private, self._allowed, self._resolve = private, allowed, resolve
        self._deadline = time.monotonic() + seconds

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
        if not (is_listed(host, self._private) or all(map(self._may_be, addresses))):
            raise AddressRefused(
                f"The host {host!r} has an address that is not public, and UMBEL_PRIVATE_HOSTS does not list it."
            )
        return addresses

    def _may_be(self, address: str) -> bool:
        return self._allowed(address) or is_listed(address, self._private)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step ends at the deadline."""

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
def usual_tls() -> ssl.SSLContext:
    """TLS as browsers do it."""
    return httpcore.default_ssl_context()  # reading all the certificates takes some 20 ms


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("no time left")
    return left
