"""`umbel reindex`: every picture embedded with another model version, or the active index built anew."""

import sys
from pathlib import Path
from typing import Any

import click
from umbel_client import Job

from cli.follow import follow, show_failures
from cli.model_names import find_model
from cli.output import api_client, json_option, print_json, progress
from cli.reindex_report import as_markdown, show_story, tell


@click.command()
@click.argument("model", required=False)
@click.option(
    "--mode",
    type=click.Choice(["embeddings", "index"]),
    default="embeddings",
    show_default=True,
    help="Embed with MODEL; or build the active model's index anew.",
)
@click.option("--activate", is_flag=True, help="Switch to MODEL if it passes the gate; exit 1 if it did not.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="How far R@1 and MAP@R may be below the active model's.  [default: UMBEL_GATE_DROP of the service]",
)
@click.option("--m", type=click.IntRange(2, 100), help="Of the new index: neighbors of each vector.")
@click.option("--ef-construction", type=click.IntRange(4, 1000), help="Of the new index: candidates for them.")
@click.option("--wait/--no-wait", default=True, help="Follow it to the end, or only begin it.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, as Markdown.")
@json_option
def reindex(model: str | None, wait: bool, report: Path | None, as_json: bool, **options: Any) -> None:
    """Embed every picture with MODEL (default: the newest that is not active) beside the active one, and judge both.

    Searches, uploads and imports go on meanwhile. MODEL is an id, the beginning of one, or a name: see `umbel models
    list`. Interrupting this command does not end the job: that is `umbel jobs cancel JOB`. How to read the report:
    docs/how-to/models.md.
    """
    _check(options, wait=wait, report=report)
    with api_client() as api:
        version = find_model(list(api.models.list()), model).id if model else None
        job = api.admin.reindex(model_version=version, **options).job()
        if wait:
            with progress(quiet=as_json) as bars:
                job = follow(api, job, bars)
    if as_json:
        print_json(job.as_dict())
    elif wait:
        show_outcome(job)
    else:
        click.echo(f"Begun as job {job.id}. How far it is: umbel jobs show {job.id}")
    if report:
        report.write_text(as_markdown(tell(job)))
    if wait and not succeeded(job, to_switch=bool(options["activate"])):
        sys.exit(1)


def _check(options: dict[str, Any], *, wait: bool, report: Path | None) -> None:
    index = options["mode"] == "index"
    if index and (options["activate"] or options["max_drop"] is not None):
        raise click.UsageError("--activate and --max-drop go with --mode embeddings.")
    if not index and (options["m"] is not None or options["ef_construction"] is not None):
        raise click.UsageError("--m and --ef-construction go with --mode index.")
    if report and not wait:
        raise click.UsageError("--report needs the end to be waited for.")


def show_outcome(job: Job) -> None:
    """The report, and what failed."""
    show_story(tell(job))
    if job.counts.failed:
        with api_client() as api:
            show_failures(api, job)


def succeeded(job: Job, *, to_switch: bool) -> bool:
    """Whether it came to the end that was asked for."""
    assert job.reindex is not None
    return job.status not in ("failed", "cancelled") and (job.reindex.switched or not to_switch)
