"""`umbel jobs`: list, show, cancel, retry, pause and resume jobs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TextIO
from uuid import UUID

import click

from cli.follow import followed, show_failures, wait_option
from cli.output import api_client, json_option, print_json, say, table, write_data
from cli.reindex import report_of, show_report

if TYPE_CHECKING:
    from umbel_client import Job, Umbel

STATUSES = ("queued", "running", "succeeded", "partial", "failed", "cancelled")
VERBS = {
    "cancel": "End JOB_ID where it stands: what is indexed stays so, the rest is cancelled.",
    "retry": "Try the failed pictures of JOB_ID once more, and no others.",
    "pause": "Let JOB_ID wait until it is resumed; the batch in hand is finished.",
    "resume": "Continue JOB_ID, which was paused.",
}

ASKED = ("paused", "cancelling", "retrying")  # phases that are told in place of the status

CSV = click.File("w", encoding="utf-8")
LIMIT = click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, at most.")


@click.group()
def jobs() -> None:
    """Show and control jobs. Every import, upload, reindex, comparison and deletion is a job."""


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only jobs in this state.")
@LIMIT
@json_option
def list_(status: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs.

    \b
    umbel jobs list --status failed
    """
    with api_client() as api:
        found = list(islice(api.jobs.list(status=status), limit))
    print_json([job.as_dict() for job in found]) if as_json else _show(found)


@jobs.command()
@click.argument("job_id", type=click.UUID)
@LIMIT
@wait_option("Follow JOB_ID to its end; exit 1 unless all of it succeeded.")
@click.option(
    "--failures",
    type=click.File("w", encoding="utf-8"),
    help="Write what failed in JOB_ID to this CSV file; - for stdout.",
)
@json_option
def show(job_id: UUID, limit: int, wait: bool, failures: TextIO | None, as_json: bool) -> None:
    """Show JOB_ID with what failed in it.

    \b
    umbel jobs show 01a209d2-1f04-7442-a1e3-d1864404c09e --wait
    umbel jobs show 01a209d2-1f04-7442-a1e3-d1864404c09e --failures failed.csv
    """
    if failures is not None and as_json:
        raise click.UsageError("--failures writes CSV: leave out --json.")
    with api_client() as api:
        job = api.jobs.get(job_id)
        if wait:
            job = followed(api, job, quiet=as_json)
        if failures is not None:
            write_data(failures, api.jobs.items_csv(job_id, status="failed"))
        else:
            _show_one(api, job, limit, as_json=as_json)
    if wait and job.status != "succeeded":
        raise click.exceptions.Exit(1)


def _show_one(api: Umbel, job: Job, limit: int, *, as_json: bool) -> None:
    if as_json:
        failed = [item.as_dict() for item in islice(api.jobs.items(job.id, status="failed"), limit)]
        print_json({**job.as_dict(), "failed": failed})
        return
    _show([job])
    say(", ".join(f"{count:,} {state}" for state, count in job.counts.as_dict().items() if count))
    if job.reindex and job.finished:
        show_report(report_of(job))
    elif job.error:
        say(job.error)
    show_failures(api, job, most=limit)


def _add_command(verb: str, text: str) -> None:
    @jobs.command(verb, help=f"{text}\n\n\b\numbel jobs {verb} 01a209d2-1f04-7442-a1e3-d1864404c09e")
    @click.argument("job_id", type=click.UUID)
    @json_option
    def change(job_id: UUID, as_json: bool) -> None:
        with api_client() as api:
            job: Job = getattr(api.jobs, verb)(job_id)
        print_json(job.as_dict()) if as_json else _show([job])


for _verb, _text in VERBS.items():
    _add_command(_verb, _text)


def _show(found: list[Job]) -> None:
    rows = (
        (
            job.id,
            job.type,
            job.phase if job.phase in ASKED else job.status,
            f"{job.counts.total - job.counts.pending}/{job.counts.total}",
            job.counts.failed or "",
            f"{job.created_at.astimezone():%H:%M}",
        )
        for job in found
    )
    table(None, ("job", "type", "status", "done", "failed", "at"), rows, right="done failed")
