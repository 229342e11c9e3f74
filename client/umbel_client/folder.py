"""Many files as one import: found, hashed, and only what is new uploaded, a bounded number at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from umbel_client.answers.jobs import Job
from umbel_client.errors import ApiError
from umbel_client.imports import Imports
from umbel_client.jobs import Jobs

if TYPE_CHECKING:
    from umbel_client.images import Images

CHUNK = 200  # files whose hashes are looked up in one request
CONCURRENCY = 8
NOT_TAKEN = (413, 415, 422)  # the picture's fault: the others go on


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file to upload; name: what it is called in the gallery."""

    path: Path
    name: str
    label: str | None = None


@dataclass(slots=True)
class FolderUpload:
    """What became of the files. known: in the collection before; refused: {name: reason}; job_id: None, nothing new."""

    job_id: UUID | None = None
    known: int = 0
    queued: int = 0
    duplicate: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    _jobs: Jobs | None = None

    def wait(self, timeout: float | None = None) -> Job | None:
        """The finished job of the uploads; None where nothing was new. timeout: seconds. Raises StillRunning."""
        return self._jobs.work(self.job_id).wait(timeout) if self._jobs and self.job_id else None


def find_images(folder: Path, *, label_from_folder: bool = False) -> Iterator[ImageFile]:
    """All pictures in and below a folder, by name. Raises NotADirectoryError."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder.")
    for file in walk(folder):
        if is_image(file):
            label = file.absolute().parent.name if label_from_folder else None
            yield ImageFile(file, str(file.relative_to(folder.parent)), label)


def walk(path: Path) -> Iterator[Path]:
    """The files at and below `path`, by name."""
    if path.is_file():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.name.startswith(".") or (child.is_symlink() and child.is_dir()):
            continue  # hidden files are nobody's pictures, and a linked folder may lead round in a circle
        if child.is_dir() or child.is_file():
            yield from walk(child)


def is_image(file: Path) -> bool:
    """By its first bytes, since names lie. One that is damaged further on is still a picture: the API says why not."""
    try:
        with file.open("rb") as handle:
            start = handle.read(12)
    except OSError:
        return True  # sending it will say why
    jpeg_or_png = start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
    return jpeg_or_png or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex; empty where it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""  # sending it will say why


def known_files(images: "Images", files: Sequence[ImageFile], collection: str) -> set[ImageFile]:
    """Of these (at most 1,000) files, those whose bytes the collection has."""
    hashed = {file: sha256_of(file.path) for file in files}
    known = images.check([digest for digest in hashed.values() if digest], collection=collection)
    return {file for file, digest in hashed.items() if digest in known}


class Sender:
    """Sends what is new of many files into one job, which is opened when the first of them turns out to be new."""

    def __init__(self, images: "Images", jobs: Jobs, imports: Imports, collection: str) -> None:
        self._images, self._jobs, self._imports, self._collection = images, jobs, imports, collection
        self._done = FolderUpload(_jobs=jobs)
        self._lock = Lock()

    def send(self, files: Iterable[ImageFile], *, concurrency: int, on_progress: Callable[[int], None]) -> FolderUpload:
        rest = iter(files)
        try:
            with ThreadPoolExecutor(concurrency) as senders:
                while chunk := list(islice(rest, CHUNK)):
                    known = known_files(self._images, chunk, self._collection)
                    self._done.known += len(known)
                    on_progress(len(known))
                    new = [file for file in chunk if file not in known]
                    if new and self._done.job_id is None:
                        self._done.job_id = self._imports.open(collection=self._collection)
                    for _ in senders.map(self._send_one, new):
                        on_progress(1)
        finally:  # interrupted or not, no more will come
            if self._done.job_id is not None:
                self._jobs.close(self._done.job_id)
        return self._done

    def _send_one(self, file: ImageFile) -> None:
        done = self._done
        try:
            data = file.path.read_bytes()
            sent = self._images.upload(
                data, collection=self._collection, label=file.label, name=file.name, job_id=done.job_id
            )
        except OSError as error:
            done.rejected[file.name] = error.strerror or "cannot be read"
        except ApiError as error:
            if error.status not in NOT_TAKEN:
                raise
            done.rejected[file.name] = error.detail
        else:
            with self._lock:
                done.queued += sent.status == "queued"
                done.duplicate += sent.status == "duplicate"
