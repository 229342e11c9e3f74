"""The option `--filter` of commands that are about some of the pictures."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Filter(click.ParamType):
    """A JSON object; the API says what is wrong with the filter in it."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        from umbel.base.storable import parse_json

        try:
            found = parse_json(value)
        except ValueError as error:
            self.fail(f"It is not JSON that can be sent: {error}.", param, ctx)
        if not isinstance(found, dict):
            self.fail("It must be a JSON object.", param, ctx)
        return found


def filter_option(command: F) -> F:
    text = """Only pictures that pass this filter, such as '{"label": ["rose"]}': docs/reference/filters.md."""
    return click.option("--filter", "asked", type=Filter(), metavar="JSON", help=text)(command)
