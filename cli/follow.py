"""Follow a job to its end with a progress bar, and list its failures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.output import SKIPPED, progress, say, table

if TYPE_CHECKING:
    from rich.progress import Progress
    from umbel_client import Job, Umbel

F = TypeVar("F", bound=Callable[..., Any])

LOOK_SECONDS = 0.5
USUALLY = {"comparison": "Comparing", "deletion": "Deleting", "sync": "Syncing"}
USUALLY |= {"change": "Changing", "removal": "Removing", "restoration": "Restoring", "purge": "Purging"}
DOING = {
    "cancelling": "Cancelling",
    "retrying": "Bringing back what failed",
    "listing": "Listing",
    "paused": "Paused",
    "indexing": "Building the index",
    "evaluating": "Evaluating",
    "switching": "Switching",
}
ENDED = {"failed": "Failed", "cancelled": "Cancelled"}


def wait_option(text: str, *, default: bool = False) -> Callable[[F], F]:
    """The option --wait of a command that begins a job."""
    return click.option("--wait/--no-wait", default=default, help=text)


def followed(api: Umbel, job: Job, *, quiet: bool) -> Job:
    """The job once it has finished, with a progress bar meanwhile. quiet: without it."""
    with progress(quiet=quiet) as bars:
        return follow(api, job, bars)


def follow(api: Umbel, job: Job, bars: Progress) -> Job:
    """The job once it has finished. Shows its progress meanwhile; a Ctrl-C says that the job goes on."""
    try:
        return _follow(api, job, bars)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Interrupted; the job goes on: umbel jobs show {job.id} --wait") from None


def _follow(api: Umbel, job: Job, bars: Progress) -> Job:
    usual = _usual(job)
    task = bars.add_task(usual, total=job.counts.total, note="")
    while True:
        counts = job.counts
        done, total = counts.total - counts.pending, counts.total
        if job.phase == "indexing" and job.index and job.index.total:
            done, total = job.index.done, job.index.total
        doing = DOING.get(job.phase or "", ENDED.get(job.status, usual))
        bars.update(
            task,
            description=doing,
            completed=done,
            total=total,
            note=_note(job),
        )
        if job.finished:
            return job
        job = api.jobs.get(job.id, wait=LOOK_SECONDS)


def _note(job: Job) -> str:
    counts = job.counts
    if job.source and job.source.error:
        return job.source.error
    if job.reindex and job.phase == "embedding" and counts.pending == counts.total > 0:
        return "a worker loads the model, which it times at first"
    return f"{counts.failed} failed" if counts.failed else ""


def _usual(job: Job) -> str:
    if job.reindex and job.reindex.mode == "index":
        return "Building the index"
    return USUALLY.get(job.type, "Embedding")


def show_failures(api: Umbel, job: Job, *, most: int = SKIPPED) -> None:
    """Print the job's failed images with codes and reasons, if there are any."""
    if not job.counts.failed:
        return
    failed = islice(api.jobs.items(job.id, status="failed"), most)
    say()
    table("Failed", ("picture", "code", "reason"), ((item.name, item.error_code, item.error) for item in failed))
    if job.counts.failed > most:
        say(f"… and {job.counts.failed - most:,} more; all of them: umbel jobs show {job.id} --failures failed.csv")
