"""What goes on while faults strike: an import, people uploading one picture at a time, and a probe after each fault."""

import hashlib
import random
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from tests.faults.clients import Clients
from tests.faults.images import image_bytes

SENDERS = 8
PORTIONS = 20
MOST_HASHES = 1000  # in one request
NOTICED_SECONDS = 0.5  # after a blow: what is dead is dead for all by then
FIRST_PROBE = 10_000_000  # numbers of probes' pictures, beyond all others


@dataclass(frozen=True, slots=True)
class Single:
    """One upload by one person. pause: seconds after their last one; key: Idempotency-Key."""

    number: int
    pause: float
    key: str | None


def draw_singles(seed: int, *, images: int, people: int, seconds: float) -> list[list[Single]]:
    """For each person the uploads that they make within about `seconds`: a quarter as many as the import has.

    Half of the pictures are new, a quarter are in the import too, a quarter are sent a second time by somebody.
    """
    rng = random.Random(f"singles {seed}")
    each = max(1, images // 4 // people)
    plans: list[list[Single]] = [[] for _ in range(people)]
    new = images
    for _ in range(each):
        for plan in plans:
            kind = rng.random()
            if kind < 0.25:
                number = rng.randrange(images)
            elif kind < 0.5 and new > images:
                number = rng.randrange(images, new)
            else:
                number, new = new, new + 1
            key = f"seed-{seed}-{number}" if rng.random() < 0.3 else None
            plan.append(Single(number, rng.expovariate(each / seconds), key))
    return plans


def upload_singles(
    clients: Clients, plan: Sequence[Single], *, seed: int, person: int, collection: str, stop: threading.Event
) -> None:
    """Be one person: upload what the plan says, at any address of the API, until it is accepted."""
    rng = random.Random(f"addresses {seed} {person}")
    for single in plan:
        if stop.wait(single.pause):
            return
        data = image_bytes(seed, single.number)
        clients.ask(
            lambda api, data=data, single=single: api.upload(  # type: ignore[misc]
                data, collection=collection, name=f"{single.number}.jpg", idempotency_key=single.key
            ),
            rng,
        )


def promise(clients: Clients, folder: Path) -> None:
    """Note that an import of a folder's pictures was accepted."""
    clients.receipts.promise({hashlib.sha256(path.read_bytes()).hexdigest(): path.name for path in folder.iterdir()})


Import = Callable[[Clients, Path, str, float], object]


def import_by_upload(clients: Clients, folder: Path, collection: str, seconds: float) -> None:
    """Send a folder as `umbel import` does: look up what is known, upload the rest into one job, close it.

    Half of it at once, so that there is much to do; the rest a little at a time, over about `seconds`, so that there
    is always something to do.
    """
    job_id: UUID = clients.ask(lambda api: api.imports.open(collection=collection))
    files = sorted(folder.iterdir())
    half, few = len(files) // 2, max(1, len(files) // 2 // PORTIONS)

    def send(path: Path) -> None:
        data = path.read_bytes()
        clients.ask(lambda api: api.upload(data, collection=collection, name=path.name, job_id=job_id))

    def send_new(paths: Sequence[Path]) -> None:
        hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        known = clients.ask(lambda api: api.images.check(list(hashes.values()), collection=collection))
        for digest, image_id in known.items():
            clients.receipts.take(digest, image_id)
        list(senders.map(send, [path for path in paths if hashes[path] not in known]))

    with ThreadPoolExecutor(SENDERS) as senders:
        send_new(files[:half])
        for at in range(half, len(files), few):
            send_new(files[at : at + few])
            clients.pause(seconds / PORTIONS)
    clients.ask(lambda api: api.jobs.close(job_id))


def import_by_archive(clients: Clients, folder: Path, collection: str, seconds: float) -> None:
    """Send a folder as one zip, from which the workers read; what it held is confirmed when its job is final."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, path.name)
    try:
        clients.ask(lambda api: api.imports.file(archive, collection=collection))
    finally:
        archive.unlink()


IMPORTS: dict[str, Import] = {"upload": import_by_upload, "archive": import_by_archive}


def confirm_imports(clients: Clients, collection: str) -> list[str]:
    """Of imports that were accepted and are final, the pictures that the collection does not have, in words."""
    hashes = clients.receipts.promised
    known: dict[str, UUID] = {}
    for at in range(0, len(hashes), MOST_HASHES):
        some = list(hashes)[at : at + MOST_HASHES]
        known |= clients.ask(lambda api, some=some: api.images.check(some, collection=collection))  # type: ignore[misc]
    for digest, image_id in known.items():
        clients.receipts.take(digest, image_id)
    lost = hashes.keys() - known.keys()
    return [f"{len(lost)} pictures of an accepted import are not there, such as {hashes[min(lost)]}"] if lost else []


@dataclass(frozen=True, slots=True)
class Heal:
    """How long after `kind` an upload was indexed.

    seconds: None if it never was; alone: no other fault went on meanwhile, nor was one still healing at the beginning.
    """

    kind: str
    seconds: float | None
    alone: bool


class Probes:
    """Uploads one picture after each fault and follows it until it can be found."""

    def __init__(self, clients: Clients, *, seed: int, collection: str, patience: float) -> None:
        self.heals: list[Heal] = []
        self._clients, self._seed, self._collection, self._patience = clients, seed, collection, patience
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="probe")
        self._begun = self._ended = self._sent = self._back = 0
        self._lock = threading.Lock()

    def fault_begins(self) -> None:
        with self._lock:
            self._begun += 1

    def fault_ended(self) -> None:
        with self._lock:
            self._ended += 1

    def measure(self, kind: str, since: float) -> None:
        """Begin to measure how long after `since` (time.monotonic) a picture sent now can be found."""
        with self._lock:
            calm = self._begun == self._ended and self._sent == self._back
            self._sent += 1
            self._pool.submit(self._probe, kind, since, FIRST_PROBE + self._sent, self._begun if calm else None)

    def close(self) -> None:
        """Wait for the last probe."""
        self._pool.shutdown()

    def _probe(self, kind: str, since: float, number: int, begun: int | None) -> None:
        heal = Heal(kind, None, alone=False)
        try:
            self._clients.pause(max(0, since + NOTICED_SECONDS - time.monotonic()))
            data = image_bytes(self._seed, number)
            accepted = self._clients.ask(lambda api: api.upload(data, collection=self._collection, name=kind))
            job_id = accepted.job_id
            assert job_id is not None
            while time.monotonic() - since < self._patience:
                job = self._clients.ask(lambda api: api.jobs.get(job_id, wait=5))
                if job.finished:
                    if job.counts.indexed:
                        heal = replace(heal, seconds=time.monotonic() - since, alone=self._begun == begun)
                    break
        finally:
            with self._lock:
                self._back += 1
                self.heals.append(heal)
