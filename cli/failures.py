"""What failed in a job, the first of it by name."""

from itertools import islice

import click
from umbel_client import Job, Umbel

from cli.output import SKIPPED, table


def show_failures(api: Umbel, job: Job, *, most: int = SKIPPED) -> None:
    """A table of pictures, codes and reasons; nothing where nothing failed."""
    if not job.counts.failed:
        return
    failed = islice(api.jobs.items(job.id, status="failed"), most)
    table("\nFailed", ("picture", "code", "reason"), ((item.name, item.error_code, item.error) for item in failed))
    if job.counts.failed > most:
        click.echo(
            f"… and {job.counts.failed - most:,} more; all of them: umbel jobs show {job.id} --failures failed.csv"
        )
