"""Sending pictures of this machine: found, hashed, and only what is new uploaded."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from uuid import UUID

from rich.progress import Progress, TaskID

from cli.follow import follow
from client import ApiError, Job, Umbel
from core.pictures import looks_like_picture

CHUNK = 200  # files whose hashes are looked up in one request
UPLOADS = 8  # at a time


@dataclass(frozen=True, slots=True)
class Source:
    """A picture file and the label its folder gives it."""

    path: Path
    name: str
    label: str | None


@dataclass(slots=True)
class Outcome:
    """What became of an import. known: in the collection before; refused: {file: reason}."""

    job: Job | None = None
    known: int = 0
    queued: int = 0
    duplicate: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def find_pictures(paths: Sequence[Path], *, label_from_folder: bool = False) -> tuple[list[Source], int]:
    """All pictures at and below `paths`, in a stable order, and how many other files were passed over."""
    sources, others = [], 0
    for path in paths:
        for file in _files(path):
            if not _is_picture(file):
                others += 1
                continue
            name = str(file.relative_to(path.parent)) if path.is_dir() else file.name
            sources.append(Source(file, name, file.absolute().parent.name if label_from_folder else None))
    return sources, others


def import_pictures(
    api: Umbel, sources: Sequence[Source], *, collection: str, wait: bool, bars: Progress, dry_run: bool = False
) -> Outcome:
    """Upload `sources` as one job, and follow it to its end if `wait`. dry_run: only look which ones are new."""
    outcome = Outcome()
    sending = bars.add_task("Looking" if dry_run else "Uploading", total=len(sources), note="")
    importer = _Importer(api, collection, outcome, bars, sending, dry_run=dry_run)
    try:
        for at in range(0, len(sources), CHUNK):
            importer.send(sources[at : at + CHUNK])
    finally:  # interrupted or not, no more will come
        if importer.job_id is not None:
            outcome.job = api.seal(importer.job_id)
    bars.update(sending, note=f"{outcome.known} known already" if outcome.known else "")
    if wait and outcome.job is not None:
        outcome.job = follow(api, outcome.job, bars)
    return outcome


class _Importer:
    """Sends chunks of files into one job, which is opened when the first file turns out to be new."""

    def __init__(
        self, api: Umbel, collection: str, outcome: Outcome, bars: Progress, task: TaskID, *, dry_run: bool
    ) -> None:
        self._dry_run = dry_run
        self.job_id: UUID | None = None
        self._api, self._collection, self._outcome = api, collection, outcome
        self._bars, self._task = bars, task
        self._lock = Lock()

    def send(self, sources: Sequence[Source]) -> None:
        hashed = {source: _sha256(source.path) for source in sources}
        known = self._api.check([digest for digest in hashed.values() if digest], collection=self._collection)
        new = [source for source, digest in hashed.items() if digest not in known]
        self._outcome.known += len(sources) - len(new)
        self._bars.advance(self._task, len(sources) - len(new))
        if self._dry_run:
            self._outcome.queued += len(new)
            self._bars.advance(self._task, len(new))
        elif new:
            self._send(new)

    def _send(self, new: Sequence[Source]) -> None:
        if self.job_id is None:
            self.job_id = self._api.open_import(collection=self._collection)
        with ThreadPoolExecutor(UPLOADS) as senders:
            list(senders.map(self._send_one, new))

    def _send_one(self, source: Source) -> None:
        try:
            data = source.path.read_bytes()
            accepted = self._api.upload(
                data, collection=self._collection, label=source.label, name=source.name, job_id=self.job_id
            )
        except OSError as error:
            self._count(refused=(source.name, error.strerror or "cannot be read"))
        except ApiError as error:
            if error.status not in (413, 415, 422):
                raise
            self._count(refused=(source.name, error.detail))
        else:
            self._count(duplicate=accepted.status == "duplicate")

    def _count(self, *, duplicate: bool = False, refused: tuple[str, str] | None = None) -> None:
        with self._lock:
            if refused:
                self._outcome.refused[refused[0]] = refused[1]
            elif duplicate:
                self._outcome.duplicate += 1
            else:
                self._outcome.queued += 1
            self._bars.advance(self._task)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.name.startswith(".") or (child.is_symlink() and child.is_dir()):
            continue  # hidden files are nobody's pictures, and a linked folder may lead round in a circle
        if child.is_dir() or child.is_file():
            yield from _files(child)


def _is_picture(file: Path) -> bool:
    """By its first bytes, since names lie. One that is damaged further on is still a picture: the API says why not."""
    try:
        with file.open("rb") as handle:
            return looks_like_picture(handle.read(12))
    except OSError:
        return True  # sending it will say why


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""  # sending it will say why
