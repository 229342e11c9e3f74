"""The option `--box` of commands that search by a part of a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from umbel.base.types import Box


class BoxType(click.ParamType):
    """Four numbers; the API says whether they make sense."""

    name = "x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        from umbel.base.types import Box

        try:
            box = Box(*map(float, value.split(",")))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not four numbers with commas between them.", param, ctx)
        if not all(map(math.isfinite, box)):
            self.fail("It must be numbers that can be sent.", param, ctx)
        return box


box_option = click.option(
    "--box",
    type=BoxType(),
    metavar="X,Y,W,H",
    help="Only this part of the picture: left, top, width, height, as shares of its sides, such as 0.25,0.25,0.5,0.5.",
)
