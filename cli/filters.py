"""The options `--filter` and `--label` of commands that are about some of the pictures."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

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
    """The options --filter and --label. The command gets both as one filter, `asked`."""

    @wraps(command)
    def filtered(*arguments: Any, asked: dict[str, Any] | None, labels: tuple[str, ...], **options: Any) -> Any:
        return command(*arguments, asked=_both(asked, labels), **options)

    text = """Only pictures that pass this filter, such as '{"label": ["rose"]}': docs/reference/filters.md."""
    labelled = click.option("--label", "labels", multiple=True, help="Only pictures of this label; may be repeated.")
    option = click.option("--filter", "asked", type=Filter(), metavar="JSON", help=text)
    return cast(F, option(labelled(filtered)))


def _both(asked: dict[str, Any] | None, labels: tuple[str, ...]) -> dict[str, Any] | None:
    if not labels:
        return asked
    labelled = {"label": list(labels)}
    return {"all": [labelled, asked]} if asked else labelled
