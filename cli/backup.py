"""`umbel backup` and `umbel restore`: copy the database and the images to a folder and back."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.config import settings
from cli.output import json_option, print_json, progress, say, table
from cli.reconcile import bar, compare
from umbel.base.errors import Conflict, StackError

if TYPE_CHECKING:
    from umbel.operations.backup import Backup
    from umbel.operations.reconciliation.context import Mismatches


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
def backup(folder: Path, as_json: bool) -> None:
    """Write the database and all pictures into FOLDER, or bring the backup there up to date.

    The service may keep running. Pictures that are in FOLDER already are not copied again. `sha256sum -c SHA256SUMS` in
    FOLDER checks it. Exit 1 if pictures were missing or damaged in the service, see `umbel reconcile --deep`.

    \b
    umbel backup /mnt/backups/umbel
    """
    from importlib.metadata import version

    from stack.binaries import postgres_client
    from stack.embedded import embedded_database
    from umbel.base.blobs import blobs
    from umbel.operations import backup as backups
    from umbel.operations import dump

    pg_dump, config = postgres_client("pg_dump"), settings()
    with embedded_database(config), progress(quiet=as_json) as bars:
        origin = backups.Origin(
            snapshot=dump.snapshot,
            dump=lambda snapshot, target: dump.dump(pg_dump, config.direct_database, target, snapshot=snapshot.name),
            blobs=blobs(),
            umbel=version("umbel"),
            schema_revision=_revision(),
        )
        try:
            made = backups.back_up(origin, folder, partial(bar, bars))
        except OSError as error:
            raise StackError(f"cannot write the backup: {error.strerror} ({error.filename or folder})") from error
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        say(f"Backed up {made.images:,} images: {made.blobs:,} files ({made.blob_bytes / 1e6:,.1f} MB) and the")
        say(f"database ({made.dump_bytes / 1e6:,.1f} MB) in {folder}.")
    _name_missing(made.missing, "missing or damaged in the blob store, and not in the backup")
    sys.exit(1 if made.missing else 0)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@json_option
def restore(folder: Path, as_json: bool) -> None:
    """Bring the backup in FOLDER back, into a database that is empty, and compare everything.

    The embedded stack must be down. After an interruption, run it again. Exit 1 if anything is wrong afterwards.

    \b
    umbel restore /mnt/backups/umbel
    """
    from stack.binaries import postgres_client
    from stack.embedded import embedded_database
    from umbel.base import schema
    from umbel.base.blobs import blobs
    from umbel.operations import backup as backups
    from umbel.operations import dump
    from umbel.operations import restore as restoring

    pg_restore, config = postgres_client("pg_restore"), settings()
    made = backups.read_backup(folder)
    if not schema.knows(made.schema_revision):
        raise Conflict(f"The backup is of a later version, Umbel {made.umbel}: restore it with that, or a later one.")
    with embedded_database(config, alone=True), progress(quiet=as_json) as bars:
        if schema.current(config.direct_database) is not None:
            raise Conflict(
                "The database holds a gallery already: restore into an empty one, or set another UMBEL_HOME."
            )
        load = partial(dump.load, pg_restore, config.direct_database, index_memory_mb=config.index_memory_mb)
        damaged = restoring.restore(folder, blobs(), load, partial(bar, bars))
        schema.upgrade(config.direct_database)
        found = [kind for kind in compare(bars) if kind.found]
    _report(made, found, damaged, as_json=as_json)
    sys.exit(1 if found or damaged else 0)


def _revision() -> str:
    """The schema's revision. Raises StackError without a gallery."""
    from umbel.base import schema

    revision = schema.current(settings().direct_database)
    if revision is None:
        raise StackError("There is no gallery in this database to back up.")
    return revision


def _report(made: Backup, found: list[Mismatches], damaged: list[str], *, as_json: bool) -> None:
    if as_json:
        mismatches = {kind.code: kind.found for kind in found}
        print_json(
            {"backup": made.model_dump(mode="json"), "damaged": damaged, "mismatches": mismatches, "ok": not found}
        )
    else:
        say(f"Restored {made.images:,} images as they were at {made.created_at:%Y-%m-%d %H:%M} UTC.")
        if found:
            table(None, ("check", "found"), ((kind.what, kind.found) for kind in found), right="found")
        else:
            say("Ledger, blobs, embeddings and index fit together. To start the service: umbel up --detach")
    _name_missing(damaged, "missing or damaged in the backup, and left out")


def _name_missing(keys: list[str], what: str) -> None:
    if keys:
        more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
        say(f"{len(keys):,} files are {what}: {', '.join(keys[:3])}{more}", err=True)
