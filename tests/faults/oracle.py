"""What must be true once everything has healed. Knows no faults: only what was promised and what is there."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from tests.faults.snapshot import Snapshot

FINAL = ("succeeded", "partial", "failed", "cancelled")
NAMED = 5  # of each kind of violation that many are named, the rest counted


def violations(snapshot: Snapshot, taken: Mapping[str, UUID]) -> list[str]:
    """What is not as it was promised, in sentences. taken: {SHA-256: image} of every upload that was accepted."""
    return [
        *_some("accepted, but gone", _lost(snapshot, taken)),
        *_some("there, but never accepted", _unasked(snapshot, taken)),
        *_some("accepted, but not indexed", _unindexed(snapshot, taken)),
        *_some("embeddings", _misembedded(snapshot)),
        *_some("blobs", _damaged(snapshot)),
        *_some("orphan blobs", _orphans(snapshot)),
        *_some("items", _unfinished_items(snapshot)),
        *_some("failed though good", _failed(snapshot)),
        *_some("jobs", _unfinished_jobs(snapshot)),
        *_some("counts", snapshot.miscounts),
    ]


def abandoned_jobs(snapshot: Snapshot) -> list[UUID]:
    """Imports that were opened by a request whose answer got lost: empty and nobody's, until the sweep closes them."""
    open_imports = [job for job in snapshot.jobs if job.type == "import" and not job.closed and not job.sourced]
    return [job.id for job in open_imports if job.total == 0]


def _lost(snapshot: Snapshot, taken: Mapping[str, UUID]) -> Iterator[str]:
    there = {image.sha256: image.id for image in snapshot.images}
    for digest, image_id in taken.items():
        if there.get(digest) != image_id:
            yield f"picture {digest[:12]} was accepted as image {image_id} and is {there.get(digest, 'no image')}"


def _unasked(snapshot: Snapshot, taken: Mapping[str, UUID]) -> Iterator[str]:
    for image in snapshot.images:
        if image.sha256 not in taken:
            yield f"image {image.id} of bytes {image.sha256[:12]}"
    for digest, times in Counter(image.sha256 for image in snapshot.images).items():
        if times > 1:
            yield f"{times} images of the same bytes {digest[:12]}"


def _unindexed(snapshot: Snapshot, taken: Mapping[str, UUID]) -> Iterator[str]:
    indexed = {item.image_id for item in snapshot.items if item.state == "indexed"}
    states: dict[UUID | None, list[str]] = {}
    for item in snapshot.items:
        states.setdefault(item.image_id, []).append(item.state)
    for image_id in taken.values():
        if image_id not in indexed:
            yield f"image {image_id}: its items are {states.get(image_id, 'none')}"


def _misembedded(snapshot: Snapshot) -> Iterator[str]:
    for image in snapshot.images:
        if (found := snapshot.embeddings[image.id]) != 1:
            yield f"image {image.id} has {found} of the active model version"
    for image_id in snapshot.embeddings.keys() - {image.id for image in snapshot.images}:
        yield f"one of image {image_id}, which does not exist"


def _damaged(snapshot: Snapshot) -> Iterator[str]:
    for image in snapshot.images:
        if (found := snapshot.blobs.get(image.blob_key)) != image.sha256:
            yield f"{image.blob_key} of image {image.id} is {'missing' if found is None else 'damaged: ' + found[:12]}"


def _orphans(snapshot: Snapshot) -> Iterator[str]:
    yield from sorted(snapshot.blobs.keys() - {image.blob_key for image in snapshot.images})


def _unfinished_items(snapshot: Snapshot) -> Iterator[str]:
    for item in snapshot.items:
        if item.state == "pending":
            yield f"item {item.id} is pending"
        if item.lease_owner is not None:
            yield f"item {item.id}, {item.state}, is still leased to {item.lease_owner}"


def _failed(snapshot: Snapshot) -> Iterator[str]:
    for item in snapshot.items:
        if item.state in ("failed", "cancelled"):
            yield f"item {item.id} of image {item.image_id} is {item.state}: {item.error}"


def _unfinished_jobs(snapshot: Snapshot) -> Iterator[str]:
    nobodys = set(abandoned_jobs(snapshot))
    for job in snapshot.jobs:
        if (job.status not in FINAL or not job.closed) and job.id not in nobodys:
            yield f"{job.type} job {job.id} is {job.status}{'' if job.closed else ' and open'}"


def _some(what: str, found: Iterator[str] | Sequence[str]) -> Iterator[str]:
    named = list(found)
    for each in named[:NAMED]:
        yield f"{what}: {each}"
    if len(named) > NAMED:
        yield f"{what}: … and {len(named) - NAMED} more"
