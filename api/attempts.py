"""Wrong keys, limited by address. A key that was right lately gets through whatever others at its address present."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from ipaddress import IPv6Address, ip_address, ip_network

from flask import current_app, request
from limits import RateLimitItem

from api.limiter import limiter
from umbel.access.keys import digest
from umbel.base.errors import RateLimited, Unauthenticated

TRUSTED_SECONDS = 600.0
MOST_TRUSTED = 4_096
PREFIX_OF_A_SITE = 64  # bits of an IPv6 address; one machine has as many addresses below them as it likes


class _Trusted:
    """What was right lately: keys and sessions, by their hashes. Any thread may use it."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        with self._lock:
            self._until[digest(secret)] = time.monotonic() + TRUSTED_SECONDS
            self._until.move_to_end(digest(secret))
            if len(self._until) > MOST_TRUSTED:
                self._until.popitem(last=False)

    def remove(self, secret: str) -> None:
        with self._lock:
            self._until.pop(digest(secret), None)

    def __contains__(self, secret: str) -> bool:
        return self._until.get(digest(secret), 0.0) > time.monotonic()


@cache
def _trusted() -> _Trusted:
    """The one of this process."""
    return _Trusted()


def trust(secret: str) -> None:
    """Note that a key, or a session's token, is right."""
    _trusted().add(secret)


def is_trusted(secret: str | None) -> bool:
    """Whether it was right lately. It may have been revoked since, so this opens nothing."""
    return secret is not None and secret in _trusted()


@contextmanager
def presenting(key: str) -> Iterator[None]:
    """Around the check of a key. Raises RateLimited without checking it, after too many wrong ones from its address."""
    limit: RateLimitItem | None = current_app.config["AUTH_FAILURE_LIMIT"]
    who = f"wrong keys {_site_of(request.remote_addr or '')}"
    if limit is not None and not is_trusted(key):
        wait = limiter().wait_of(limit, who, count=False)
        if wait is not None:
            detail = f"More than {limit} wrong keys came from your address."
            raise RateLimited(detail, retry_after=math.ceil(wait))
    try:
        yield
    except Unauthenticated:
        _trusted().remove(key)
        if limit is not None:
            limiter().wait_of(limit, who)
        raise
    trust(key)


def _site_of(address: str) -> str:
    """What counts as one address: an IPv4 address, or the network of an IPv6 address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:  # as a proxy may say
        return address[:100]
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((found, PREFIX_OF_A_SITE), strict=False))
