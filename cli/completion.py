"""`umbel completion`: what a shell needs to complete commands, options and files."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from cli.output import write_data

VARIABLE = "_UMBEL_COMPLETE"  # by which the shell asks, as click names it after the command
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the lines that make SHELL complete what follows `umbel`: commands, options, their values, files.

    \b
    umbel completion bash > ~/.local/share/bash-completion/completions/umbel
    umbel completion zsh > ~/.zfunc/_umbel        with fpath+=~/.zfunc before compinit
    umbel completion fish > ~/.config/fish/completions/umbel.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    write_data(sys.stdout, kind(click.get_current_context().find_root().command, {}, "umbel", VARIABLE).source())
