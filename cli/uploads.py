"""Sending pictures of this machine: found, and only what is new uploaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.progress import Progress
from umbel_client import ImageFile, Job, Umbel
from umbel_client.folder import CHUNK, is_image, known_files, walk

from cli.follow import follow


@dataclass(slots=True)
class Outcome:
    """What became of an import. known: in the collection before; refused: {file: reason}."""

    job: Job | None = None
    known: int = 0
    queued: int = 0
    duplicate: int = 0
    rejected: dict[str, str] = field(default_factory=dict)


def find_images(paths: Sequence[Path], *, label_from_folder: bool = False) -> tuple[list[ImageFile], int]:
    """All pictures at and below `paths`, in a stable order, and how many other files were passed over."""
    found, others = [], 0
    for path in paths:
        for file in walk(path):
            if not is_image(file):
                others += 1
                continue
            name = str(file.relative_to(path.parent)) if path.is_dir() else file.name
            found.append(ImageFile(file, name, file.absolute().parent.name if label_from_folder else None))
    return found, others


def import_images(
    api: Umbel, files: Sequence[ImageFile], *, collection: str, wait: bool, bars: Progress, dry_run: bool = False
) -> Outcome:
    """Upload `files` as one job, and follow it to its end if `wait`. dry_run: only look which ones are new."""
    sending = bars.add_task("Looking" if dry_run else "Uploading", total=len(files), note="")
    advance = partial(bars.advance, sending)
    if dry_run:
        outcome = Outcome()
        for at in range(0, len(files), CHUNK):
            chunk = files[at : at + CHUNK]
            known = len(known_files(api.images, chunk, collection))
            outcome.known += known
            outcome.queued += len(chunk) - known
            advance(len(chunk))
    else:
        sent = api.images.upload_files(files, collection=collection, on_progress=advance)
        job = api.jobs.get(sent.job_id) if sent.job_id else None
        outcome = Outcome(job, sent.known, sent.queued, sent.duplicate, sent.rejected)
    bars.update(sending, note=f"{outcome.known} known already" if outcome.known else "")
    if wait and outcome.job is not None:
        outcome.job = follow(api, outcome.job, bars)
    return outcome
