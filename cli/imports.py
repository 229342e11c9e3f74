"""`umbel import`: pictures, folders, archives, lists, URLs and buckets into a collection."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from umbel_files.names import is_list
from umbel_files.tally import Tally

from cli.follow import follow, show_failures, wait_option
from cli.output import api_client, complain, json_option, print_json, progress, say, table
from cli.pictures import is_pipe, read_pipe

if TYPE_CHECKING:
    from rich.progress import Progress
    from umbel_client import ImageFile, Job, Umbel
    from umbel_client.folder import Listing

URLS = ("http://", "https://")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.lzma", ".tlz")


@dataclass(slots=True)
class Outcome:
    """The outcome of an import. known: in the collection before; rejected: {file: reason}."""

    job: Job | None = None
    known: int = 0
    queued: int = 0
    duplicate: int = 0
    rejected: dict[str, str] = field(default_factory=dict)


@click.command("import")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--collection", help="Collection to import into. [default: that of the key, if it is for one; else `default`]"
)
@click.option("--label-from-folder", is_flag=True, help="Label each picture with the name of its folder.")
@wait_option("Return when everything is embedded, not when it is uploaded.")
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and import nothing.")
@click.option("--on-server", is_flag=True, help="PATHS are folders of the server, below its UMBEL_IMPORT_ROOTS.")
@click.option(
    "--in-place",
    is_flag=True,
    help="Leave the pictures where they are: PATHS are folders or buckets that the server reads, now and later.",
)
@click.option("--include-hidden", is_flag=True, help="Also what is hidden, trash, thumbnails that programs keep, …")
@click.option("--base", help="Folder of the server or s3:// prefix that the paths of a list are relative to.")
@json_option
def import_(paths: tuple[str, ...], on_server: bool, in_place: bool, as_json: bool, **options: Any) -> None:
    """Import pictures.

    \b
    umbel import ~/Pictures            files, and folders with all that is below them
    umbel import photos.zip            an archive: zip, tar, tar.gz, tar.bz2, tar.xz
    umbel import s3://bucket/2024      a bucket that the server may read
    umbel import list.csv              a list: path or url, label, and what else is to be kept of each
    umbel import https://host/a.jpg    pictures that the server fetches, where it may
    umbel import /data --on-server     a folder of the server, below its UMBEL_IMPORT_ROOTS
    umbel import /data --in-place      the same, without copying the pictures

    Other files are skipped and counted. Pictures that are in the collection already are not imported again, so after an
    interruption run the same command again. Exit 1 if any picture failed.
    """
    if in_place:
        on_server, paths = True, tuple(path if path.startswith("s3://") else os.path.abspath(path) for path in paths)
    kinds = {on_server or is_source(path, alone=len(paths) == 1) for path in paths}
    if len(kinds) > 1:
        raise click.UsageError("Import archives, lists, URLs and buckets apart from files and folders.")
    if not on_server:
        for path in paths:
            if not path.startswith(("s3://", *URLS)) and not Path(path).exists():
                raise click.BadParameter(f"{path!r} does not exist.", param_hint="PATHS")
    if kinds.pop():
        _from_sources(paths, on_server=on_server, in_place=in_place, as_json=as_json, **options)
    else:
        _from_here([Path(path) for path in paths], as_json=as_json, **options)


def _from_sources(paths: tuple[str, ...], *, on_server: bool, as_json: bool, **options: Any) -> None:
    options["wait"] = options["wait"] or options["dry_run"]  # a dry run is only useful with its result
    with TemporaryDirectory(prefix="umbel-") as folder, api_client() as api:
        with progress(quiet=as_json) as bars:
            sent = paths if on_server else _listed(paths, Path(folder))
            jobs, rejected = import_sources(api, sent, on_server=on_server, bars=bars, **options)
        if as_json:
            print_json(source_facts(jobs, rejected))
        else:
            _report_jobs(api, jobs, waited=options["wait"])
    for path, reason in rejected.items():
        complain(f"{path}: {reason}")
    sys.exit(1 if rejected or any(job.counts.failed or job.error for job in jobs) else 0)


def _listed(paths: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The paths, with one list in `folder` in place of all URLs."""
    urls = [path for path in paths if path.startswith(URLS)]
    if not urls:
        return paths
    list_ = folder / "urls.jsonl"
    list_.write_text("".join(f"{json.dumps({'url': url})}\n" for url in urls), encoding="utf-8")
    return (*(path for path in paths if path not in urls), str(list_))


def _from_here(
    paths: list[Path],
    *,
    collection: str | None,
    wait: bool,
    dry_run: bool,
    base: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    from umbel_client.folder import list_images

    with ExitStack() as spools:
        found = list_images([_spooled(path, spools) for path in paths], **options)
        with api_client() as api, progress(quiet=as_json or not found.images) as bars:
            outcome = import_images(api, found.images, collection=collection, wait=wait, dry_run=dry_run, bars=bars)
    outcome.rejected = found.rejected | outcome.rejected
    if as_json:
        print_json(file_facts(outcome, found))
    elif found.images or found.rejected:
        _report(outcome, found, waited=wait, dry_run=dry_run)
    if not found.images:
        others = found.not_taken
        complain(f"Nothing was imported: {others if others.total else 'there is no file in it'}.")
    failed = outcome.rejected or (outcome.job and outcome.job.counts.failed)
    sys.exit(1 if failed or not found.images else 0)


def file_facts(outcome: Outcome, found: Listing) -> dict[str, Any]:
    """What became of files of this machine, for machines; `source_facts` has the same shape."""
    return {
        "jobs": [outcome.job.as_dict()] if outcome.job else [],
        "known": outcome.known,
        "queued": outcome.queued,
        "duplicate": outcome.duplicate,
        "rejected": outcome.rejected,
        "not_images": len(found.skipped),
        "not_images_by_kind": found.not_taken.counts(),
    }


def source_facts(jobs: Sequence[Job], rejected: dict[str, str]) -> dict[str, Any]:
    """What has become of sources so far. The jobs tell what is known already while they go on: as `duplicate`."""
    kinds: Counter[str] = Counter()
    for job in jobs:
        kinds.update(job.source.skipped_by_kind if job.source else {})
    duplicate = sum(job.counts.duplicate for job in jobs)
    return {
        "jobs": [job.as_dict() for job in jobs],
        "known": 0,
        "queued": sum(job.counts.total for job in jobs) - duplicate,
        "duplicate": duplicate,
        "rejected": rejected,
        "not_images": sum(job.source.skipped for job in jobs if job.source),
        "not_images_by_kind": dict(kinds),
    }


def _spooled(path: Path, spools: ExitStack) -> Path:
    """The path itself; for a pipe a file with what it gave. Raises OSError, Unreadable."""
    if not is_pipe(path):
        return path
    copy = Path(spools.enter_context(TemporaryDirectory(prefix="umbel-")), path.name)
    copy.write_bytes(read_pipe(path))
    return copy


def _report(outcome: Outcome, found: Listing, *, waited: bool, dry_run: bool) -> None:
    queued = "would be imported" if dry_run else "queued"
    waited = waited and not dry_run
    parts = {
        "indexed" if waited else queued: outcome.job.counts.indexed if waited and outcome.job else outcome.queued,
        "known already": outcome.known + outcome.duplicate,
        "failed": outcome.job.counts.failed + len(found.rejected) if outcome.job else len(outcome.rejected),
    }
    say(", ".join(f"{count:,} {what}" for what, count in parts.items() if count or what == "indexed") + ".")
    if found.images and found.not_taken.total:
        say(f"Not taken: {found.not_taken}.")
    if outcome.rejected:
        table("Rejected", ("picture", "reason"), list(outcome.rejected.items())[:20])
    if outcome.job and outcome.job.counts.failed:
        say(f"What failed and why: umbel jobs show {outcome.job.id}")


def import_images(
    api: Umbel, files: Sequence[ImageFile], *, collection: str | None, wait: bool, bars: Progress, dry_run: bool = False
) -> Outcome:
    """Upload `files` as one job, and follow it to its end if `wait`. dry_run: only count the new ones."""
    from umbel_client.folder import CHUNK

    sending = bars.add_task("Looking" if dry_run else "Uploading", total=len(files), note="")
    advance = partial(bars.advance, sending)
    if dry_run:
        outcome = Outcome()
        for at in range(0, len(files), CHUNK):
            chunk = files[at : at + CHUNK]
            known = len(api.images.known_files(chunk, collection=collection))
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


def is_source(path: str, *, alone: bool) -> bool:
    """Whether the path is a bucket, a URL, an archive or a list, rather than pictures and folders of pictures.

    alone: it is the only one.
    """
    is_file = path.lower().endswith(ARCHIVES) or is_list(path, alone=alone)
    return path.startswith(("s3://", *URLS)) or (is_file and not Path(path).is_dir())


def import_sources(
    api: Umbel,
    paths: Sequence[str],
    *,
    on_server: bool,
    wait: bool,
    bars: Progress,
    base: str | None,
    in_place: bool = False,
    **options: Any,
) -> tuple[list[Job], dict[str, str]]:
    """One job for each of `paths`, followed to their ends if `wait`; and those not taken, {path: reason}.

    in_place: of folders and buckets of the server. options: as `client.imports` takes them.
    """
    from umbel_client import ApiError
    from umbel_client.folder import NOT_TAKEN

    found, rejected = [], {}
    for path in paths:
        try:
            if path.startswith("s3://"):
                work = api.imports.s3(path, in_place=in_place, **options)
            elif on_server:
                work = api.imports.folder(path, in_place=in_place, **options)
            else:
                sending = bars.add_task(f"Uploading {Path(path).name}", total=None, note="")
                work = api.imports.file(path, base=base, **options)
                bars.update(sending, total=1, completed=1)
        except OSError as error:
            rejected[path] = error.strerror or str(error)
        except ApiError as error:
            if error.status not in NOT_TAKEN:
                raise
            rejected[path] = error.detail
        else:
            found.append(work.job())
    return [follow(api, job, bars) for job in found] if wait else found, rejected


def _report_jobs(api: Umbel, jobs: Sequence[Job], *, waited: bool) -> None:
    """Print the outcome of each job."""
    for job in jobs:
        if not waited:
            say(f"Job {job.id} has begun: umbel jobs show {job.id} --wait")
        elif job.source and job.source.dry_run:
            say(
                f"{job.source.listed:,} pictures would be imported, {job.source.rejected:,} of them rejected;"
                f" {job.source.skipped:,} other files skipped."
            )
        else:
            counts = {**job.counts.as_dict(), "skipped": job.source and job.source.skipped}
            del counts["total"]
            say(", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what == "indexed") + ".")
        if job.source and job.source.listed and job.source.skipped:
            say(f"Not taken: {Tally(job.source.skipped_by_kind)}.")
        if job.error:
            say(job.error)
        if waited:
            show_failures(api, job)
