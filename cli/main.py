"""The command `umbel`. Errors end in one line on stderr and exit code 1; wrong usage in exit code 2."""

import ast
import sys
from importlib import import_module
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

import click
from pydantic import ValidationError
from umbel_client.errors import UmbelClientError

from umbel.base.errors import UmbelError
from umbel.base.logging import configure_logging
from umbel.base.settings import settings

# Where each command lives; imported when it is asked for, so that `umbel status` does not wait for torch.
COMMANDS = {
    "up": "cli.stack:up",
    "down": "cli.stack:down",
    "status": "cli.status:status",
    "demo": "cli.demo:demo",
    "api": "cli.serve:api",
    "worker": "cli.serve:worker",
    "scheduler": "cli.serve:scheduler",
    "import": "cli.imports:import_",
    "similar": "cli.similar:similar",
    "identify": "cli.identify:identify",
    "duplicates": "cli.duplicates:duplicates",
    "label-issues": "cli.label_issues:label_issues",
    "sql": "cli.sql:sql",
    "collections": "cli.collections:collections",
    "jobs": "cli.jobs:jobs",
    "cancel": "cli.jobs:cancel",
    "retry": "cli.jobs:retry",
    "pause": "cli.jobs:pause",
    "resume": "cli.jobs:resume",
    "reconcile": "cli.reconcile:reconcile",
    "backup": "cli.backup:backup",
    "restore": "cli.backup:restore",
    "keys": "cli.keys:keys",
    "sample": "cli.garden:sample",
    "train": "cli.train:train",
    "evaluate": "cli.evaluate:evaluate",
    "models": "cli.models:models",
    "reindex": "cli.reindex:reindex",
    "db": "cli.database:db",
    "version": "cli.main:version",
}


class Outlines(click.Group):
    """The commands in the order of a day's work, as far as a list of them needs: to import all would take seconds."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module, _, attribute = COMMANDS[name].partition(":")
        return click.Command(name, help=_docstring(module, attribute))


class Commands(Outlines):
    """The same, each loaded when it is called."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        Outlines().format_commands(context, formatter)


def _docstring(module: str, function: str) -> str | None:
    """Of a function in a module that is not imported for it."""
    source = Path(str(find_spec(module).origin)).read_bytes()  # type: ignore[union-attr]
    [found] = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == function]
    return ast.get_docstring(found)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def umbel() -> None:
    """Umbel: pictures go in, the most similar pictures come out.

    \b
    umbel up --detach            start everything on this machine
    umbel import ~/Pictures      add a folder of pictures
    umbel similar photo.jpg      find what looks like this one

    Settings are environment variables UMBEL_…, see docs/settings.md.
    """


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def version(as_json: bool) -> None:
    """Print the version."""
    number = installed_version("umbel")
    click.echo(f'{{"version": "{number}"}}' if as_json else f"umbel {number}")


def main() -> None:
    """Run a command; turn what it raises on purpose into one line."""
    try:
        configure_logging(settings())
        umbel(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(_say("Interrupted."))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (UmbelError, UmbelClientError) as error:
        sys.exit(_say(str(error)))
    except ValidationError as error:
        problem = error.errors()[0]
        name = "UMBEL_" + "_".join(map(str, problem["loc"])).upper()
        sys.exit(_say(f"The setting {name} cannot be used: {problem['msg']} (it is {problem['input']!r})."))
    except BrokenPipeError:  # `umbel jobs | head`
        sys.stderr.close()
        sys.exit(1)


def _say(line: str) -> int:
    click.echo(f"umbel: {' '.join(line.split())}", err=True)
    return 1


if __name__ == "__main__":
    main()
