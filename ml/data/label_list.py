"""Labels from a CSV file: path, label, and optionally role, beside folders of class folders."""

import csv
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from umbel_files.names import printable

from umbel.base.errors import BadDataset

Role = Literal["train", "validation", "held-out"]  # the parts of a split


class Labeled(NamedTuple):
    """A line: an image, its class, and the part of the split that the list puts it in, if it says so."""

    path: Path
    label: str
    role: str | None


def read_labels(file: Path) -> list[Labeled]:
    """The lines of a list with the header path,label or path,label,role; other columns are left aside.

    Paths are relative to the list's folder. Raises BadDataset, which names the line.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise BadDataset(f"{file} needs a header with the columns path and label (and role, if you like).")
            found = [_labeled(file, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadDataset(f"The labels in {file} cannot be read: {error}") from error
    kept_out = {one.label for one in found if one.role == "held-out"}
    known = {one.label for one in found if one.role != "held-out"}
    if kept_out & known:
        raise BadDataset(f"{file}: the class {min(kept_out & known)!r} is held out in some lines and not in others.")
    return found


def _labeled(file: Path, line: int, row: dict[str, str | None]) -> Labeled:
    path, label, role = ((row.get(column) or "").strip() for column in ("path", "label", "role"))
    if not path or not label:
        raise BadDataset(f"{file}, line {line}: a {'label' if path else 'path'} is missing.")
    roles = get_args(Role)
    if role not in ("", *roles):
        raise BadDataset(f"{file}, line {line}: {role!r} is no role; there are {', '.join(roles)}.")
    return Labeled(file.parent / path, printable(label), role or None)
