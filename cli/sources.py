"""Importing what is not sent picture by picture: archives, lists, and what the server reads by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress
from umbel_client import Job, Umbel

from cli.failures import show_failures
from cli.follow import follow
from cli.output import as_it_is

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LISTS = (".csv", ".jsonl", ".ndjson")


def is_source(path: str) -> bool:
    """Whether the path is a bucket, an archive or a list, rather than pictures and folders of pictures."""
    return path.startswith("s3://") or (path.lower().endswith((*ARCHIVES, *LISTS)) and not Path(path).is_dir())


def import_sources(
    api: Umbel, paths: Sequence[str], *, on_server: bool, wait: bool, bars: Progress, base: str | None, **options: Any
) -> list[Job]:
    """One job for each of `paths`, followed to their ends if `wait`. options: as `client.imports` takes them."""
    found = []
    for path in paths:
        if path.startswith("s3://"):
            work = api.imports.s3(path, **options)
        elif on_server:
            work = api.imports.folder(path, **options)
        else:
            sending = bars.add_task(f"Uploading {as_it_is(Path(path).name)}", total=None, note="")
            work = api.imports.file(path, base=base, **options)
            bars.update(sending, total=1, completed=1)
        found.append(work.job())
    return [follow(api, job, bars) for job in found] if wait else found


def report(api: Umbel, jobs: Sequence[Job], *, waited: bool) -> None:
    """What became of each job."""
    for job in jobs:
        if not waited:
            click.echo(f"Job {job.id} has begun: umbel jobs show {job.id} --wait 600")
        elif job.source and job.source.dry_run:
            click.echo(
                f"{job.source.listed:,} pictures would be imported, {job.source.rejected:,} of them refused;"
                f" {job.source.skipped:,} other files passed over."
            )
        else:
            counts = {**job.counts.as_dict(), "passed over": job.source and job.source.skipped}
            del counts["total"]
            click.echo(", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what == "indexed") + ".")
        if job.error:
            click.echo(job.error)
        if waited:
            show_failures(api, job)
