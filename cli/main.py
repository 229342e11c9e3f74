"""The command `umbel`. Errors end in one line on stderr and exit code 1, wrong usage in 2, Ctrl-C in 130.

A bug is told in one line, too, and its traceback is in a file to report it with.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from cli.output import complain, let_go_of_stdout, replace_unencodable, say
from umbel.base.errors import UmbelError

F = TypeVar("F", bound=Callable[..., Any] | click.Command)

CTRL_C = 130  # the exit code that shells expect
WHOLE = 1000  # letters of a command's first sentence, which click would cut to fit one line

# Where each command lives, and its line in the help.
SECTIONS = {
    "Run": {
        "up": ("cli.stack:up", "Start Postgres, Redis, the worker, the scheduler and the API."),
        "down": ("cli.stack:down", "Stop what `umbel up` left running."),
        "status": ("cli.stack:status", "Show what runs on this machine and whether it is ready."),
        "doctor": ("cli.doctor.command:doctor", "Find what is wrong on this machine, and what to do."),
        "demo": ("cli.demo:demo", "Start everything, import a sample, search with one picture."),
        "api": ("cli.serve:api", "Serve the HTTP API until told to stop."),
        "worker": ("cli.serve:worker", "Embed pictures with the active model until told to stop."),
        "scheduler": ("cli.serve:scheduler", "Wake the workers for what is left behind until told to stop."),
    },
    "Use": {
        "import": ("cli.imports:import_", "Import pictures, folders, archives, lists, URLs and buckets."),
        "sync": ("cli.sync:sync", "Follow folders of the server and buckets."),
        "similar": ("cli.search:similar", "Find the pictures most similar to a file or an image."),
        "identify": ("cli.search:identify", "Say what one to five pictures of a subject show."),
        "calibrate": ("cli.calibrate:calibrate", "Fit what identify trusts to a collection's own labels."),
        "duplicates": ("cli.duplicates:duplicates", "Find near-duplicates, with the one to keep."),
        "label-issues": ("cli.duplicates:label_issues", "Find labels that are probably wrong."),
        "outliers": ("cli.curation:outliers", "Find pictures that are like nothing else there."),
        "representatives": ("cli.curation:representatives", "Find the few pictures that stand for all."),
        "label-next": ("cli.curation:label_next", "Find the pictures that are most worth a label."),
        "images": ("cli.images:images", "List, show, label, delete, restore or download images."),
        "facets": ("cli.facets:facets", "Count pictures by label, metadata, collection or time."),
        "collections": ("cli.collections:collections", "List, create, limit or delete collections."),
        "export": ("cli.export:export", "Write vectors and their images' labels into a Parquet or npz file."),
        "sign": ("cli.sign:sign", "Make URLs of pictures that need no key, for a while."),
        "jobs": ("cli.jobs:jobs", "List, show, cancel, retry, pause or resume jobs."),
        "events": ("cli.events:events", "List what happened to jobs and images, or follow it."),
        "sql": ("cli.sql:sql", "Open psql on the schema `umbel`, to read only."),
        "sample": ("cli.sample:sample", "Draw a folder of labelled flowers to begin with."),
    },
    "Models": {
        "train": ("cli.train.command:train", "Train a model on folders, or on a collection."),
        "evaluate": ("cli.evaluate:evaluate", "Measure how well a model tells classes apart."),
        "models": ("cli.models:models", "List, register, activate, roll back or retire models."),
        "recall": ("cli.recall:recall", "Measure what the index finds of the nearest, or list it."),
        "reindex": ("cli.reindex:reindex", "Embed every picture with another model, or rebuild the index."),
    },
    "Operate": {
        "keys": ("cli.keys:keys", "Create, list and revoke the keys of the API."),
        "audit": ("cli.audit:audit", "List who changed what, or follow it."),
        "webhooks": ("cli.webhooks:webhooks", "Have events delivered to addresses; list and replay deliveries."),
        "reconcile": ("cli.reconcile:reconcile", "Find where ledger, blobs, embeddings and index disagree."),
        "backup": ("cli.backup:backup", "Write the database and all pictures into a folder."),
        "restore": ("cli.backup:restore", "Bring a backup back into an empty database."),
        "db": ("cli.db:db", "Upgrade, downgrade or check the schema."),
        "completion": ("cli.completion:completion", "Print what makes a shell complete commands."),
    },
}
COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}


class Commands(click.Group):
    """Commands that are imported when called, so that `umbel status` and `umbel --help` do not wait for torch."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return prepared(command)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of that name. Raises UsageError with what was meant, maybe `images delete` by `delete`."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(context, args)
        groups = ((one, self.get_command(context, one)) for one in COMMANDS)
        below = [f"{one} {name}" for one, group in groups if isinstance(group, click.Group) and name in group.commands]
        meant = " or ".join(f"'umbel {one}'" for one in below or get_close_matches(name, COMMANDS))
        raise click.UsageError(f"No such command {name!r}." + (f" Did you mean {meant}?" if meant else ""), context)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands with their lines of the help, none of them imported; and this group's own options."""
        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def url_option(*, hidden: bool) -> Callable[[F], F]:
    """The option --url; what is given last counts."""
    text = "A service elsewhere, or UMBEL_URL; before or after the command.  [default: this machine's]"
    variable = None if hidden else "UMBEL_URL"
    return click.option("--url", envvar=variable, expose_value=False, callback=_remember, hidden=hidden, help=text)


def _remember(context: click.Context, _: click.Parameter, url: str | None) -> None:
    if url is not None:
        context.find_root().obj = url


def prepared(command: click.Command) -> click.Command:
    """The command, which takes --url itself, as do all below it; a group's list of commands has whole sentences."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            one.short_help = one.get_short_help_str(WHOLE)
            prepared(one)
    elif not any("--url" in one.opts for one in command.params):
        url_option(hidden=True)(command)
    return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@url_option(hidden=False)
@click.version_option(package_name="umbel", message="umbel %(version)s")
def umbel() -> None:
    """Umbel: pictures go in, the most similar pictures come out.

    \b
    umbel up --detach            start everything on this machine
    umbel import ~/Pictures      add a folder of pictures
    umbel similar photo.jpg      find what looks like this one
    umbel doctor                 find what is wrong

    Settings are environment variables UMBEL_…, see docs/settings.md.
    """
    from umbel.base.logging import configure_logging
    from umbel.base.settings import settings, unknown_settings

    for warning in unknown_settings():
        complain(warning)
    configure_logging(settings())


def main() -> None:
    """Run a command; print the errors it raises on purpose, and those of files, in one line."""
    replace_unencodable()
    try:
        status = _status()
        if sys.stdout:
            sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
    except KeyboardInterrupt as interrupt:
        complain(str(interrupt) or "Interrupted.")
        status = CTRL_C
    except BrokenPipeError:  # `umbel jobs list | head`
        status = 1
    except OSError as error:
        complain(reason_of(error))
        status = 1
    let_go_of_stdout()
    sys.exit(status)


def _status() -> int:
    try:
        ended = umbel(prog_name="umbel", standalone_mode=False)  # the code of a click.exceptions.Exit, if there was one
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise abort.__context__ from None
        complain("Not confirmed, so nothing was done.")
        return 1
    except click.ClickException as error:
        _explain(error)
        return error.exit_code
    except OSError:
        raise
    except Exception as error:
        complain(told(error))
        return 1
    return ended if isinstance(ended, int) else 0


def told(error: Exception) -> str:
    """What went wrong, for people; of a bug also where its traceback is. Raises OSError if that cannot be written."""
    import tempfile
    import traceback

    from umbel_client.errors import UmbelClientError

    if isinstance(error, UmbelError | UmbelClientError):
        return str(error)
    with tempfile.NamedTemporaryFile("w", prefix="umbel-bug-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    return f"This is a bug of Umbel: {type(error).__name__}: {error}. Please report it with {file.name}."


def reason_of(error: OSError) -> str:
    """What a file or folder, or the disk, did not let happen."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _explain(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        for line in error.format_message().splitlines():
            say(line, err=True)
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        for line in error.ctx.get_usage().splitlines():
            say(line, err=True)
        say(f"Try '{error.ctx.command_path} --help' for help.", err=True)
        say(err=True)
    say(f"Error: {error.format_message()}".replace("\n\t", " "), err=True)  # as click lists choices


if __name__ == "__main__":
    main()
