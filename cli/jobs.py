"""`umbel jobs`: what was asked for, and how far it is."""

from itertools import islice
from uuid import UUID

import click

from cli.output import api_client, json_option, print_json, table
from client import Job

STATUSES = ("queued", "running", "succeeded", "partial", "failed", "cancelled")


@click.command()
@click.argument("job_id", type=click.UUID, required=False)
@click.option("--status", type=click.Choice(STATUSES), help="Only jobs in this state.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, newest first.")
@click.option("--wait", type=click.FloatRange(0), default=0, help="Seconds to wait for JOB_ID to finish.")
@json_option
def jobs(job_id: UUID | None, status: str | None, limit: int, wait: float, as_json: bool) -> None:
    """List the newest jobs, or show JOB_ID with what failed in it."""
    with api_client() as api:
        if job_id is None:
            found = list(islice(api.jobs(**({"status": status} if status else {})), limit))
            failed = []
        else:
            found = [api.job(job_id, wait=wait)]
            failed = list(islice(api.items(job_id, status="failed"), limit))
    if as_json:
        rows = [job.model_dump(mode="json") for job in found]
        print_json(rows if job_id is None else {**rows[0], "failed": [item.model_dump(mode="json") for item in failed]})
        return
    _show(found)
    if job_id is not None:
        counts = found[0].counts.model_dump()
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    if failed:
        table("\nFailed", ("picture", "code", "reason"), ((item.name, item.error_code, item.error) for item in failed))


def _show(found: list[Job]) -> None:
    rows = (
        (
            job.id,
            job.type,
            job.status,
            f"{job.counts.total - job.counts.pending}/{job.counts.total}",
            job.counts.failed or "",
            f"{job.created_at.astimezone():%H:%M}",
        )
        for job in found
    )
    table(None, ("job", "type", "status", "done", "failed", "at"), rows, right="done failed")
