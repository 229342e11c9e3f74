"""Many files as one import: found, hashed, and only the new ones uploaded, a bounded number at a time."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from uuid import UUID

from umbel_files.names import folder_label, printable
from umbel_files.tally import Tally
from umbel_files.walking import HIDDEN, Outcome, walk

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
    """The outcome for many files. known: in the collection before; skipped: no pictures; rejected: {name: reason}.

    job_id: None, none was new.
    """

    job_id: UUID | None = None
    known: int = 0
    queued: int = 0
    duplicate: int = 0
    skipped: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    _jobs: Jobs | None = None

    def wait(self, timeout: float | None = None) -> Job | None:
        """The finished job of the uploads; None if nothing was new. timeout: seconds. Raises StillRunning."""
        return self._jobs.work(self.job_id).wait(timeout) if self._jobs and self.job_id else None


@dataclass(slots=True)
class Listing:
    """The files at and below some paths: those to send, the names of those that are no pictures, {name: reason}.

    not_taken: those that are no pictures, and pictures of kinds that are not supported.
    """

    images: list[ImageFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    not_taken: Tally = field(default_factory=Tally)


def list_images(paths: Iterable[Path], *, label_from_folder: bool = False, include_hidden: bool = False) -> Listing:
    """All images at and below the paths, in a stable order, and what is not one. Nothing that is there ends it.

    include_hidden: also what is hidden, or kept beside pictures by systems and programs.
    """
    listing = Listing()
    for top in paths:
        above = f"{top.name}/" if os.path.isdir(top) and top.name not in ("", "..") else ""
        for found in walk(top, include_hidden=include_hidden):
            name = printable(f"{above}{found.name}")
            if found.outcome is Outcome.TAKEN:
                label = folder_label(found.path.absolute().parent.name) if label_from_folder else None
                listing.images.append(ImageFile(found.path, name, label))
                continue
            if found.outcome is Outcome.SKIPPED:
                listing.skipped.append(name)
            else:
                listing.rejected[name] = found.reason
            if found.kind or found.outcome is Outcome.SKIPPED:
                listing.not_taken.add(name, found.kind, hidden=found.reason == HIDDEN)
    return listing


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
