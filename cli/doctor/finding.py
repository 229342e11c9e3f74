"""What a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from umbel.base.settings import Settings

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """check: a stable word; detail: what was found; remedy: what to do, unless all is well."""

    check: str
    level: Level
    detail: str
    remedy: str | None = None


Check = Callable[["Settings"], Iterator[Finding]]


def ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check, "warning", detail, remedy)


def error(check: str, detail: str, remedy: str) -> Finding:
    return Finding(check, "error", detail, remedy)


def mib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
