"""Folders to list."""

from pathlib import Path

from tests.images import image_bytes

IMAGE = image_bytes(1)


def write(root: Path, *names: str, data: bytes = IMAGE) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
