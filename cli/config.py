"""The settings, read when a command runs: help and completion do without, since pydantic takes long to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbel.base.settings import Settings


def settings() -> Settings:
    """The settings of this process. Raises InvalidSetting."""
    from umbel.base.settings import settings as read

    return read()
