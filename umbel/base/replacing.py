"""Writing a file so that a reader meanwhile, or after a kill, sees the old one or a complete new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends without an error."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    yield partial
    partial.replace(path)
