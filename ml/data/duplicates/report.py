"""What a search for duplicates came to: groups for the split, and a report for people and machines."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from ml.contact_sheet import Tile, grid
from ml.data.dataset import Dataset, Indices, grouped

SHOWN = 60  # pictures on a contact sheet


@dataclass(frozen=True, slots=True)
class Finding:
    """A group of duplicates. members: positions in the data set, at least two; exact: files of equal bytes.

    agreement (of the pixels, in [0, 1]) and cosine (of the embeddings, in [−1, 1]) are those of its weakest link.
    across: its labels differ, so that one of them is wrong, or the classes overlap.
    """

    members: tuple[int, ...]
    kind: Literal["exact", "near"]
    pixel_similarity: float
    cosine: float
    across: bool


@dataclass(frozen=True, slots=True)
class Leakage:
    """The duplicates among N pictures. findings: those across classes first, then the largest.

    groups: (N,), the number of each picture's group, most of them of one picture.
    """

    findings: list[Finding]
    groups: Indices

    def grouped(self, dataset: Dataset) -> Dataset:
        """The dataset with these groups, which splits and folds then keep whole."""
        return grouped(dataset, self.groups)

    def counts(self) -> dict[str, int]:
        """How much was found."""
        return {
            "pictures": len(self.groups),
            "pictures_in_groups": sum(len(one.members) for one in self.findings),
            "groups": len(self.findings),
            "exact": sum(one.kind == "exact" for one in self.findings),
            "near": sum(one.kind == "near" for one in self.findings),
            "across_classes": sum(one.across for one in self.findings),
            "largest": max((len(one.members) for one in self.findings), default=0),
        }

    def text(self, dataset: Dataset) -> str:
        """One paragraph for the terminal."""
        count = self.counts()
        if not self.findings:
            return f"No duplicates among {count['pictures']:,} pictures."
        text = (
            f"{count['pictures_in_groups']:,} of {count['pictures']:,} pictures show what another one shows: groups of "
            f"equal files: {count['exact']:,}, of near duplicates: {count['near']:,}; pictures in the largest: "
            f"{count['largest']:,}. Each group stays on one side of the split."
        )
        if count["across_classes"]:
            such = " and ".join(dataset.relative_path(index) for index in self.findings[0].members[:2])
            text += f" Groups across classes, where a label may be wrong: {count['across_classes']:,}, such as {such}."
        return text

    def as_dict(self, dataset: Dataset, roles: Mapping[int, str] | None = None) -> dict[str, Any]:
        """The counts and every finding, for JSON. roles: what each position is used for, such as "train"."""
        findings = [_as_dict(one, dataset, roles or {}) for one in self.findings]
        return {**self.counts(), "findings": findings}

    def write(self, path: Path, dataset: Dataset, roles: Mapping[int, str] | None = None) -> None:
        """The report as a JSON file."""
        path.write_text(json.dumps(self.as_dict(dataset, roles), indent=1) + "\n")

    def contact_sheet(self, dataset: Dataset, most: int = SHOWN) -> Image.Image:
        """The groups side by side, at most so many pictures; RGB. A frame is amber where a group's labels differ."""
        tiles = [tile for number, one in enumerate(self.findings, 1) for tile in _tiles(number, one, dataset)]
        more = f": {most} of {len(tiles)} pictures" if len(tiles) > most else ""
        return grid(tiles[:most], title=f"{len(self.findings)} groups of duplicates{more}")


def _tiles(number: int, one: Finding, dataset: Dataset) -> Iterator[Tile]:
    kind = "same file" if one.kind == "exact" else f"alike {one.pixel_similarity:.2f}"
    for index in one.members:
        picture, label = Image.fromarray(dataset.pixels[index]), dataset.classes[dataset.labels[index]]
        yield Tile(picture, f"{number}  {kind}", label, agrees=not one.across, fit="contain")


def _as_dict(one: Finding, dataset: Dataset, roles: Mapping[int, str]) -> dict[str, Any]:
    members = [
        {
            "folder": dataset.folder_names[dataset.folders[index]],
            "path": dataset.relative_path(index),
            "label": dataset.classes[dataset.labels[index]],
        }
        | ({"role": roles[index]} if index in roles else {})
        for index in one.members
    ]
    return {
        "kind": one.kind,
        "pixel_similarity": round(one.pixel_similarity, 3),
        "cosine": round(one.cosine, 3),
        "across_classes": one.across,
        "members": members,
    }
