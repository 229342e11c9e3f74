"""The reference model: what the service must have, in dictionaries. Knows no HTTP.

What comes of work in the background is known once its job has ended; until then it is one of some outcomes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.model.mismatch import Mismatch

STATES = ("pending", "indexed", "duplicate", "failed", "cancelled")


@dataclass(eq=False, slots=True)
class Collection:
    """images: by SHA-256, also those that wait for their vector."""

    name: str
    images: dict[str, "Image"] = field(default_factory=dict)
    max_images: int | None = None
    max_bytes: int | None = None

    @property
    def limited(self) -> bool:
        return self.max_images is not None or self.max_bytes is not None

    def has_room(self, size: int) -> bool:
        """Whether its quota lets it have another image of that many bytes."""
        used = sum(image.size for image in self.images.values())
        if self.max_images is not None and len(self.images) >= self.max_images:
            return False
        return self.max_bytes is None or used + size <= self.max_bytes


@dataclass(eq=False, slots=True)
class Image:
    """state: `pending` until it is known to be indexed. job: None where it is not known which one embeds it."""

    id: str
    collection: Collection
    sha256: str
    data: bytes
    name: str | None
    label: str | None
    metadata: dict[str, Any]
    job: "Job | None" = None
    state: str = "pending"

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(eq=False, slots=True)
class Entry:
    """A picture of a job, and what may become of it. data: None for one that is refused unread."""

    name: str | None
    data: bytes | None
    sha256: str | None
    label: str | None
    metadata: dict[str, Any]
    outcomes: set[str]


@dataclass(eq=False, slots=True)
class Job:
    """loose: its entries are no longer known for certain. gone: its collection is deleted, and so is it, in time.

    was_cancelled: at any time, also before it was tried again. counts: what it came to, once that is known.
    """

    id: str
    type: str
    collection: Collection | None
    entries: list[Entry] = field(default_factory=list)
    source: str | None = None
    closed: bool = True
    paused: bool = False
    loose: bool = False
    gone: bool = False
    cancelled: bool = False
    was_cancelled: bool = False
    counts: dict[str, int] | None = None

    @property
    def done(self) -> bool:
        return self.counts is not None

    def bounds(self) -> dict[str, tuple[int, int]]:
        """How many items may end in each state, at least and at most."""
        sure = Counter(next(iter(entry.outcomes)) for entry in self.entries if len(entry.outcomes) == 1)
        most = Counter(outcome for entry in self.entries for outcome in entry.outcomes)
        return {state: (sure[state], most[state]) for state in STATES}


@dataclass(frozen=True, slots=True)
class Keyed:
    """What was answered to a request under an Idempotency-Key."""

    asked: tuple[Any, ...]
    job: Job
    image_id: str | None
    duplicate: bool


@dataclass(eq=False, slots=True)
class Version:
    """A model version. name: that of its checkpoint; replaced: the one that a rollback returns to."""

    id: str
    name: str
    dim: int
    calibrated: bool
    state: str
    replaced: "Version | None" = None


class World:
    """All that there is. gone: ids of images that were removed; trash: of these, the ones that can be restored."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.images: dict[str, Image] = {}
        self.gone: list[str] = []
        self.trash: dict[str, Image] = {}
        self.jobs: dict[str, Job] = {}
        self.deletions: dict[str, Job] = {}
        self.keys: dict[str, Keyed] = {}
        self.versions: dict[str, Version] = {}
        self.active: Version | None = None
        self.reindex: Job | None = None
        self.reindexed: Version | None = None
        self.switching = False  # whether that makes its version active when it ends, by itself

    def collection(self, name: str) -> Collection:
        return self.collections.setdefault(name, Collection(name))

    def add_job(self, job: Job) -> Job:
        return self.jobs.setdefault(job.id, job)

    def add_image(self, image: Image) -> Image:
        """Raises Mismatch where its collection has another of the same bytes."""
        former = image.collection.images.setdefault(image.sha256, image)
        if former.id != image.id:
            raise Mismatch(f"{image.collection.name} has {former.id} and {image.id} of the same bytes", former.id)
        return self.images.setdefault(image.id, image)

    def forget(self, image: Image) -> None:
        """It is removed: what waits for it, too."""
        if self.images.pop(image.id, None) is None:
            return
        image.collection.images.pop(image.sha256, None)
        self.gone.append(image.id)
        if image.job is not None:
            widen(image.job, image.sha256, {"cancelled"})

    def throw_away(self, image: Image) -> None:
        """It is removed, and can be restored."""
        self.forget(image)
        self.trash[image.id] = image

    def bring_back(self, image: Image) -> None:
        """It is restored, and embedded by the end of the job that does so."""
        del self.trash[image.id]
        self.gone.remove(image.id)
        image.state, image.job = "indexed", None
        self.add_image(image)
        image.collection.images[image.sha256] = image

    def unfinished(self) -> list[Job]:
        """Jobs whose outcome is not known yet, the oldest first."""
        return [job for job in self.jobs.values() if not job.done and not job.gone]

    def others_with(self, job: Job, sha256: str) -> list[Job]:
        """Other jobs with these bytes whose outcome is not known yet, for the same collection."""
        others = [each for each in self.unfinished() if each is not job and each.collection is job.collection]
        return [each for each in others if any(entry.sha256 == sha256 for entry in each.entries)]

    def imports_into(self, collection: Collection) -> list[Job]:
        """Imports that a worker may be reading now."""
        return [job for job in self.unfinished() if job.collection is collection and job.source]

    def touch(self, collection: Collection, sha256: str) -> bool:
        """These bytes come in, or go, while imports have them, too: who is first is open. Whether there is one."""
        touched = [widen(job, sha256, {"indexed", "duplicate", "cancelled"}) for job in self.imports_into(collection)]
        return any(touched)

    def drop_collection(self, collection: Collection) -> None:
        """It is deleted: images and name at once, its jobs in time, and their keys."""
        del self.collections[collection.name]
        for image in list(collection.images.values()):
            self.forget(image)
        self.trash = {key: image for key, image in self.trash.items() if image.collection is not collection}
        for job in self.jobs.values():
            if job.collection is collection and job.type != "deletion":
                job.gone = True
        self.keys = {key: one for key, one in self.keys.items() if one.job.collection is not collection}

    def pending(self) -> Iterator[Image]:
        return (image for image in self.images.values() if image.state == "pending")


def widen(job: Job, sha256: str, outcomes: set[str]) -> bool:
    """Let the entries of these bytes end otherwise, too. Whether there are any."""
    if job.done:
        return False
    found = [entry for entry in job.entries if entry.sha256 == sha256]
    for entry in found:
        entry.outcomes |= outcomes
    return bool(found)


def status_of(job: Job, counts: dict[str, int], *, error: bool) -> str:
    """Of a job that has ended with these counts. One whose images were deleted meanwhile is not a cancelled one."""
    left = counts["total"] - counts["cancelled"]
    if job.cancelled or (counts["cancelled"] and (job.was_cancelled or not left)):
        return "cancelled"
    if counts["failed"] == left and (counts["failed"] or error):
        return "failed"
    return "partial" if counts["failed"] or error else "succeeded"
