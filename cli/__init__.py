"""`umbel`: the command line."""

import sys
from types import TracebackType


def _interrupted_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while modules are still being imported, before `cli.main` can tell it, is no bug to show."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _interrupted_quietly
