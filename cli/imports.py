"""`umbel import`: pictures, folders, archives, lists and buckets into a collection."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.output import api_client, json_option, print_json, progress, table
from cli.sources import import_sources, is_source, report
from cli.uploads import Outcome, find_images, import_images


@click.command("import")
@click.argument("paths", nargs=-1, required=True)
@click.option("--collection", default="default", show_default=True, help="Collection to import into.")
@click.option("--label-from-folder", is_flag=True, help="Label each picture with the name of its folder.")
@click.option("--wait", is_flag=True, help="Return when everything is embedded, not when it is uploaded.")
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and import nothing.")
@click.option("--on-server", is_flag=True, help="PATHS are folders of the server, below its UMBEL_IMPORT_ROOTS.")
@click.option("--base", help="Folder of the server or s3:// prefix that the paths of a list are relative to.")
@json_option
def import_(paths: tuple[str, ...], on_server: bool, as_json: bool, **options: Any) -> None:
    """Import pictures.

    \b
    umbel import ~/Pictures            files, and folders with all that is below them
    umbel import photos.zip            an archive: zip, tar, tar.gz, tar.bz2, tar.xz
    umbel import s3://bucket/2024      a bucket that the server may read
    umbel import list.csv              a list: path or url, label, and what else is to be kept of each
    umbel import /data --on-server     a folder of the server

    What is not a picture is passed over and counted; what is in the collection already is not imported again, so an
    import that was interrupted is simply repeated. Exit 1 if any picture failed.
    """
    kinds = {on_server or is_source(path) for path in paths}
    if len(kinds) > 1:
        raise click.UsageError("Import archives, lists and buckets apart from files and folders.")
    if not on_server:
        for path in paths:
            if not path.startswith("s3://") and not Path(path).exists():
                raise click.BadParameter(f"{path!r} does not exist.", param_hint="PATHS")
    if kinds.pop():
        _from_sources(paths, on_server=on_server, as_json=as_json, **options)
    else:
        _from_here([Path(path) for path in paths], as_json=as_json, **options)


def _from_sources(paths: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    options["wait"] = options["wait"] or options["dry_run"]  # what it would be is all that a dry run is for
    with api_client() as api:
        with progress(quiet=as_json) as bars:
            jobs = import_sources(api, paths, bars=bars, **options)
        if as_json:
            print_json({"jobs": [job.as_dict() for job in jobs]})
        else:
            report(api, jobs, waited=options["wait"])
    sys.exit(1 if any(job.counts.failed or job.error for job in jobs) else 0)


def _from_here(
    paths: list[Path], *, collection: str, label_from_folder: bool, wait: bool, dry_run: bool, as_json: bool, **_: Any
) -> None:
    sources, others = find_images(paths, label_from_folder=label_from_folder)
    with api_client() as api, progress(quiet=as_json) as bars:
        outcome = import_images(api, sources, collection=collection, wait=wait, dry_run=dry_run, bars=bars)
    if as_json:
        job = outcome.job and outcome.job.as_dict()
        print_json({**asdict(outcome), "job": job, "not_images": others})
    else:
        _report(outcome, others, waited=wait, dry_run=dry_run)
    sys.exit(1 if outcome.rejected or (outcome.job and outcome.job.counts.failed) else 0)


def _report(outcome: Outcome, others: int, *, waited: bool, dry_run: bool) -> None:
    queued = "would be imported" if dry_run else "queued"
    waited = waited and not dry_run
    parts = {
        "indexed" if waited else queued: outcome.job.counts.indexed if waited and outcome.job else outcome.queued,
        "known already": outcome.known + outcome.duplicate,
        "failed": outcome.job.counts.failed if outcome.job else len(outcome.rejected),
        "not pictures": others,
    }
    click.echo(", ".join(f"{count} {what}" for what, count in parts.items() if count or what == "indexed") + ".")
    if outcome.rejected:
        table("Refused", ("picture", "reason"), list(outcome.rejected.items())[:20])
    if outcome.job and outcome.job.counts.failed:
        click.echo(f"What failed and why: umbel jobs show {outcome.job.id}")
