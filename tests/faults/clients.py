"""Clients as they should be: patient with an API that is away, and keeping the receipt of what it took."""

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from uuid import UUID

import httpx
from umbel_client import ApiError, Umbel, UmbelClientError, Unreachable, Upload

T = TypeVar("T")

WORTH_A_RETRY = (429, 503, 507)
PAUSE_SECONDS = 0.2
ANSWER_SECONDS = 30  # a single answer may take this long


class Stopped(Exception):
    """The run was interrupted."""


class Receipts:
    """What an API said to all clients of a seed: which pictures it took, and how often it answered what.

    promised: pictures of imports that it accepted, by their hash, with the name of each.
    """

    def __init__(self) -> None:
        self.taken: dict[str, UUID] = {}  # SHA-256 in hex → image
        self.promised: dict[str, str] = {}
        self.answers: Counter[int] = Counter()
        self.complaints: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, digest: str, image_id: UUID) -> None:
        """Note that the API has the picture of that hash as that image. One picture is one image for ever."""
        with self._lock:
            if (before := self.taken.setdefault(digest, image_id)) != image_id:
                self.complaints[f"picture {digest[:12]} was taken as image {before}, then as {image_id}"] += 1

    def promise(self, pictures: Mapping[str, str]) -> None:
        """Note that an import of these was accepted, {SHA-256: name}."""
        with self._lock:
            self.promised.update(pictures)

    def answered(self, request: str, answer: httpx.Response) -> None:
        """Count an answer. A fault may make the API say `not now`, never `I am broken`."""
        with self._lock:
            self.answers[answer.status_code] += 1
            if answer.status_code >= 400 and answer.status_code not in WORTH_A_RETRY:
                self.complaints[f"{request} was answered {answer.status_code}: {_detail(answer)}"] += 1


class Client(Umbel):
    """The client of Umbel without patience of its own, every answer on record."""

    def __init__(self, url: str, receipts: Receipts) -> None:
        super().__init__(url, timeout=ANSWER_SECONDS, retries=0)
        self._receipts = receipts
        self.connection.http.event_hooks = {"response": [self._record]}

    def upload(self, image: bytes, **options: Any) -> Upload:
        """Upload a picture, and keep the receipt."""
        upload = self.images.upload(image, **options)
        self._receipts.take(hashlib.sha256(image).hexdigest(), upload.image_id)
        return upload

    def _record(self, answer: httpx.Response) -> None:
        request = answer.request
        if request.url.path != "/readyz":
            answer.read()
            self._receipts.answered(f"{request.method} {request.url.path}", answer)


class Clients:
    """Where the API can be reached now, and a client for each address."""

    def __init__(self, url: str, receipts: Receipts, *, patience: float, stop: threading.Event) -> None:
        self._clients = {url: Client(url, receipts)}
        self._addresses = [url]
        self.receipts = receipts
        self._patience = patience
        self._stop = stop
        self._lock = threading.Lock()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    @contextmanager
    def also_at(self, url: str) -> Iterator[None]:
        """A second address, for as long as this lasts."""
        with self._lock:
            self._clients.setdefault(url, Client(url, self.receipts))
            self._addresses.append(url)
        try:
            yield
        finally:
            with self._lock:
                self._addresses.remove(url)

    def ask(self, call: Callable[[Client], T], rng: random.Random | None = None) -> T:
        """What `call` gets from the API, at any of its addresses if given a `rng`; tried until it works.

        Raises what it was refused with when that is final, or when patience is at its end; Stopped.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return call(self._any(rng))
            except (Unreachable, ApiError) as error:
                if not _may_pass(error) or time.monotonic() > deadline:
                    raise
            self.pause(PAUSE_SECONDS)

    def pause(self, seconds: float) -> None:
        """Wait. Raises Stopped."""
        if self._stop.wait(seconds):
            raise Stopped

    def _any(self, rng: random.Random | None) -> Client:
        with self._lock:
            return self._clients[rng.choice(self._addresses) if rng else self._addresses[0]]


def _detail(answer: httpx.Response) -> str:
    with suppress(ValueError):
        return str(answer.json().get("detail"))
    return answer.text[:300]


def _may_pass(error: UmbelClientError) -> bool:
    # A 500 is on record as a complaint; to go on shows whether it did any other harm.
    return not isinstance(error, ApiError) or error.status in (*WORTH_A_RETRY, 500)
