"""Labelled pictures of a gallery as a folder of class folders, to train on; and their names in the split."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

from rich.progress import Progress
from umbel_client import ApiError, Image, Umbel
from umbel_files.skipping import skipped_path

from umbel.base.errors import BadDataset
from umbel.base.replacing import replacing

SUFFIXES = {"image/png": ".png", "image/webp": ".webp"}  # all others are served as JPEG
FETCHERS = 4  # pictures fetched at once
PAGE = 500  # images listed at once


@dataclass(slots=True)
class Fetched:
    """lonely: labels of one picture, which nothing can be learnt from; refused: images that cannot be served."""

    images: int = 0
    lonely: list[str] = field(default_factory=list)
    rejected: list[tuple[UUID, str]] = field(default_factory=list)


def fetch_labelled(api: Umbel, collection: str, folder: Path, bars: Progress) -> Fetched:
    """Make `folder` hold the labelled pictures of the collection and nothing else; what is there is not fetched again.

    A file is named by the SHA-256 of the bytes that the gallery holds; its own are the copy that the gallery serves:
    upright, without metadata. Raises BadDataset for a collection without labels.
    """
    wanted, fetched = _listed(api, collection, folder, bars)
    _remove_others(folder, wanted)
    lacking = {path: image_id for path, image_id in wanted.items() if not path.exists()}
    task = bars.add_task("Fetching pictures", total=len(wanted), completed=len(wanted) - len(lacking), note="")
    for path in lacking:
        path.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(FETCHERS) as pool:
        for rejected in pool.map(partial(_fetch, api), lacking.items()):
            bars.advance(task)
            if rejected:
                fetched.rejected.append(rejected)
    fetched.images = len(wanted) - len(fetched.rejected)
    return fetched


def _listed(api: Umbel, collection: str, folder: Path, bars: Progress) -> tuple[dict[Path, UUID], Fetched]:
    task = bars.add_task("Listing pictures", total=None, note="")
    by_label: dict[str, list[Image]] = defaultdict(list)
    for image in api.images.list(collection=collection, page_size=PAGE):
        bars.advance(task)
        if image.label is not None:
            by_label[image.label].append(image)
    bars.update(task, total=bars.tasks[bars.task_ids.index(task)].completed)
    if not by_label:
        raise BadDataset(f"The collection {collection!r} has no labelled pictures.")
    wanted = {
        folder / folder_name(label) / (image.sha256 + SUFFIXES.get(image.media_type, ".jpg")): image.image_id
        for label, images in by_label.items()
        if len(images) > 1
        for image in images
    }
    return wanted, Fetched(lonely=sorted(label for label, images in by_label.items() if len(images) == 1))


def _remove_others(folder: Path, wanted: dict[Path, UUID]) -> None:
    """What was removed from the gallery since, or relabelled."""
    for path in sorted(folder.rglob("*"), reverse=True):  # files before their folders
        if path.is_file() and path not in wanted:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _fetch(api: Umbel, one: tuple[Path, UUID]) -> tuple[UUID, str] | None:
    """Why not, if the picture cannot be had: it is damaged, or was removed meanwhile."""
    path, image_id = one
    try:
        data = api.images.file(image_id)
    except ApiError as error:
        if error.status not in (404, 413, 415, 422):
            raise
        return image_id, error.detail
    with replacing(path) as partial_file:
        partial_file.write_bytes(data)
    return None


def folder_name(label: str) -> str:
    """The label itself where it can be a folder's name; else what can be of it, and a hash that tells it apart."""
    plain = re.sub(r"[^\w .,+-]", "_", label).strip(" .")[:60]
    if plain == label and not skipped_path(f"{label}/1.jpg"):
        return label
    return f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:8]}".lstrip("-")


def name_by_gallery(split: Path) -> None:
    """Add to each picture of a split the SHA-256 that the gallery knows it by. Twice is harmless."""
    found = json.loads(split.read_text())
    for picture in found["pictures"]:
        picture["gallery_sha256"] = Path(picture["path"]).stem
    with replacing(split) as partial_file:
        partial_file.write_text(json.dumps(found, indent=1) + "\n")


def remarks(fetched: Fetched) -> Iterator[str]:
    """What people should know of it."""
    if fetched.lonely:
        some = ", ".join(fetched.lonely[:10]) + (" …" if len(fetched.lonely) > 10 else "")
        yield f"{len(fetched.lonely):,} labels have one picture each and are left out: {some}"
    if fetched.rejected:
        image_id, reason = fetched.rejected[0]
        yield f"{len(fetched.rejected):,} pictures could not be had; the first is {image_id}: {reason}"
