"""Many files as one import: found, hashed, and only the new ones uploaded, a bounded number at a time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from uuid import UUID

from umbel_client.errors import ApiError
from umbel_client.jobs import Job, Jobs

CHUNK = 200  # files whose hashes are looked up in one request
CONCURRENCY = 8
NOT_TAKEN = (413, 415, 422)  # the image's fault: the others are sent


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file to upload; name: what it is called in the gallery."""

    path: Path
    name: str
    label: str | None = None


@dataclass(slots=True)
class FolderUpload:
    """The outcome for many files. known: in the collection before; rejected: {name: reason}; job_id: None, none new."""

    job_id: UUID | None = None
    known: int = 0
    queued: int = 0
    duplicate: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    _jobs: Jobs | None = None

    def wait(self, timeout: float | None = None) -> Job | None:
        """The finished job of the uploads; None if nothing was new. timeout: seconds. Raises StillRunning."""
        return self._jobs.work(self.job_id).wait(timeout) if self._jobs and self.job_id else None


def find_images(folder: Path, *, label_from_folder: bool = False) -> Iterator[ImageFile]:
    """All images in and below a folder, by name. Raises NotADirectoryError."""
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
            continue  # a linked folder may lead round in a circle
        if child.is_dir() or child.is_file():
            yield from walk(child)


def is_image(file: Path) -> bool:
    """Whether the first bytes are an image's, whatever the name. The API reports damage further on."""
    try:
        with file.open("rb") as handle:
            start = handle.read(12)
    except OSError:
        return True  # sending it reports why
    jpeg_or_png = start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
    return jpeg_or_png or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex; empty if it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""  # sending it reports why


def send_files(
    files: Iterable[ImageFile],
    *,
    known: Callable[[Sequence[ImageFile]], set[ImageFile]],
    open_job: Callable[[], UUID],
    upload: Callable[[ImageFile, UUID], str],
    jobs: Jobs,
    concurrency: int,
    on_progress: Callable[[int], None],
) -> FolderUpload:
    """Send the new ones of many files into one job, which is opened when the first of them turns out to be new."""
    done, lock, rest = FolderUpload(_jobs=jobs), Lock(), iter(files)

    def send(file: ImageFile) -> None:
        assert done.job_id is not None
        try:
            status = upload(file, done.job_id)
        except OSError as error:
            done.rejected[file.name] = error.strerror or "cannot be read"
        except ApiError as error:
            if error.status not in NOT_TAKEN:
                raise
            done.rejected[file.name] = error.detail
        else:
            with lock:
                done.queued += status == "queued"
                done.duplicate += status == "duplicate"

    try:
        with ThreadPoolExecutor(concurrency) as senders:
            while chunk := list(islice(rest, CHUNK)):
                already = known(chunk)
                done.known += len(already)
                on_progress(len(already))
                new = [file for file in chunk if file not in already]
                if new and done.job_id is None:
                    done.job_id = open_job()
                for _ in senders.map(send, new):
                    on_progress(1)
    finally:  # also when interrupted: no more will come
        if done.job_id is not None:
            jobs.close(done.job_id)
    return done
