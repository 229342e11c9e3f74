"""Who uses the stack during a soak: the same mix of requests all the time, and a gallery that keeps its size."""

import hashlib
import random
import tempfile
import threading
import time
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from umbel_client import UmbelClientError

from tests.faults.clients import Client, Clients, Receipts
from tests.faults.images import image_bytes

T = TypeVar("T")

SEED = 21
CLIENTS = 12
PATIENCE_SECONDS = 60
PORTION = 1000  # hashes in one request, and pictures in the archives that fill the gallery
BATCH = 20  # pictures of an import
LABELS = tuple(f"kind {number}" for number in range(12))

# How many of a hundred requests: what a gallery sees whose people mostly look, and whose cameras send all the time.
MIX = {
    "upload": 24,
    "search": 24,
    "similar": 16,
    "relabel": 12,
    "picture": 12,
    "listing": 8,
    "health": 2,
    "import": 1.5,
    "visit": 0.5,
}


class Users:
    """Their requests. Each upload beyond the size of the gallery removes the oldest picture.

    kept: the pictures of the gallery, oldest first; done: requests by kind; waits: seconds that searches took since
    `waits` was last emptied.
    """

    def __init__(self, url: str, *, gallery: int) -> None:
        self.collection = "soak"
        self.kept: deque[UUID] = deque()
        self.done: Counter[str] = Counter()
        self.waits: list[float] = []
        self.receipts = Receipts()
        self._size = gallery
        self._stop = threading.Event()
        self._clients = Clients(url, self.receipts, patience=PATIENCE_SECONDS, stop=self._stop)
        self._numbers = count()
        self._visits = count()
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._works: dict[str, Callable[[random.Random], object]] = {
            "upload": lambda _: self.upload(),
            "search": self._search,
            "similar": lambda rng: self._ask(lambda api: api.images.similar(self._one(rng), k=10)),
            "relabel": lambda rng: self._ask(lambda api: api.images.update(self._one(rng), label=rng.choice(LABELS))),
            "picture": self._picture,
            "listing": self._listing,
            "health": self._health,
            "import": lambda _: self._import(BATCH),
            "visit": lambda _: self._visit(),
        }

    def fill(self) -> None:
        """Make the gallery as large as it is to stay."""
        while (missing := self._size - len(self.kept)) > 0:
            self._import(min(missing, PORTION))

    def work(self, kind: str, rng: random.Random) -> None:
        """One request, or what belongs together; what is refused is on record."""
        try:
            self._works[kind](rng)
        except UmbelClientError as error:
            self._failures[f"{kind}: {type(error).__name__}: {error}"] += 1
        self.done[kind] += 1

    def complaints(self) -> list[str]:
        """What was not answered as it should have been, in words."""
        found = self.receipts.complaints + self._failures
        return [f"{what} ({times} times)" for what, times in found.most_common(20)]

    def upload(self) -> UUID | None:
        """Add a picture and remove the oldest. Returns the job."""
        data = image_bytes(SEED, next(self._numbers))
        upload = self._ask(lambda api: api.upload(data, collection=self.collection, label=LABELS[0]))
        self._keep([upload.image_id])
        return upload.job_id

    def wait(self, job_id: UUID) -> None:
        """Until the job is final; one that did not succeed is on record.

        However long it takes: the next of a client come later then, so that no more piles up than is done.
        """
        while not (job := self._ask(lambda api: api.jobs.get(job_id, wait=PATIENCE_SECONDS))).finished_at:
            if self._stop.is_set():
                return
        if job.status != "succeeded":
            self._failures[f"a job is {job.status}: {job.error}"] += 1

    def close(self) -> None:
        self._stop.set()
        self._clients.close()

    def _ask(self, call: Callable[[Client], T]) -> T:
        return self._clients.ask(call)

    def _one(self, rng: random.Random) -> UUID:
        """A picture that is neither quite new, and may have no vector yet, nor about to be removed."""
        with self._lock:
            size = len(self.kept)
            return self.kept[rng.randrange(size // 4, 3 * size // 4)]

    def _keep(self, images: Sequence[UUID]) -> None:
        with self._lock:
            self.kept.extend(images)
            old = [self.kept.popleft() for _ in range(len(self.kept) - self._size)]
        for image_id in old:
            self._ask(lambda api, image_id=image_id: api.images.delete(image_id))  # type: ignore[misc]

    def _search(self, rng: random.Random) -> None:
        data = image_bytes(SEED, rng.randrange(1000))
        began = time.monotonic()
        self._ask(lambda api: api.search(data, k=10, collection=self.collection))
        self.waits.append(time.monotonic() - began)

    def _picture(self, rng: random.Random) -> None:
        image_id = self._one(rng)
        self._ask(lambda api: api.images.file(image_id))
        self._ask(lambda api: api.images.thumbnail(image_id))

    def _listing(self, rng: random.Random) -> None:
        label = rng.choice(LABELS)
        for path, filters in (("/v1/images", {"label": label, "limit": 50}), ("/v1/jobs", {"limit": 50})):
            self._ask(lambda api, path=path, filters=filters: api.connection.json("GET", path, params=filters))  # type: ignore[misc]

    def _health(self, rng: random.Random) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            self._ask(lambda api, path=path: api.connection.request("GET", path))  # type: ignore[misc]

    def _import(self, pictures: int) -> None:
        self._keep(self._sent(pictures, self.collection))

    def _visit(self) -> None:
        """A collection of its own, which comes and goes as a whole."""
        name = f"visit-{next(self._visits)}"
        self._sent(BATCH, name)
        self.wait(self._ask(lambda api: api.collections.delete(name)).job_id)

    def _sent(self, pictures: int, collection: str) -> list[UUID]:
        """So many new pictures as one archive, once they are indexed."""
        hashes = []
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            with zipfile.ZipFile(file, "w") as packed:
                for _ in range(pictures):
                    number = next(self._numbers)
                    data = image_bytes(SEED, number)
                    packed.writestr(f"{number:08}.jpg", data)
                    hashes.append(hashlib.sha256(data).hexdigest())
            file.flush()
            work = self._ask(lambda api: api.imports.file(Path(file.name), collection=collection))
        self.wait(work.job_id)
        return list(self._ask(lambda api: api.images.check(hashes, collection=collection)).values())


class Load:
    """Requests in the order in which a seed draws them, by clients that work side by side. lag: seconds behind time."""

    def __init__(self, users: Users) -> None:
        self.lag = 0.0
        self._users = users
        self._rng = random.Random(SEED)
        self._lock = threading.Lock()
        self._over = threading.Event()

    def most(self, seconds: float) -> float:
        """Requests a second when each client sends one after the other, until the last picture is indexed."""
        began = time.monotonic()
        made = self._sent(None, began + seconds)
        if job_id := self._users.upload():
            self._users.wait(job_id)
        return made / (time.monotonic() - began)

    def run(self, rate: float, seconds: float) -> None:
        """So many requests a second, each at its time, whatever the ones before it take."""
        self._sent(rate, time.monotonic() + seconds)

    def _sent(self, rate: float | None, until: float) -> int:
        began, numbers = time.monotonic(), count()
        with ThreadPoolExecutor(CLIENTS, thread_name_prefix="user") as pool:
            clients = [pool.submit(self._client, rate, began, until, numbers) for _ in range(CLIENTS)]
            try:
                return sum(client.result() for client in clients)
            except BaseException:
                self._over.set()
                raise

    def _client(self, rate: float | None, began: float, until: float, numbers: "count[int]") -> int:
        made = 0
        while True:
            with self._lock:
                due = began + next(numbers) / rate if rate else time.monotonic()
                [kind] = self._rng.choices(list(MIX), list(MIX.values()))
                rng = random.Random(self._rng.getrandbits(64))
            if due >= until or self._over.wait(max(0.0, due - time.monotonic())) or time.monotonic() >= until:
                return made
            self.lag = max(0.0, time.monotonic() - due)
            self._users.work(kind, rng)
            made += 1
