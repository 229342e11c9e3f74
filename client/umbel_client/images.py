"""`umbel.images`: uploaded, listed, looked at, relabelled, removed."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from umbel_client.answers.images import Accepted, Image
from umbel_client.answers.jobs import Item
from umbel_client.answers.search import SearchResult
from umbel_client.connection import Connection, given
from umbel_client.folder import CONCURRENCY, FolderUpload, ImageFile, Sender, find_images
from umbel_client.imports import Imports
from umbel_client.jobs import Jobs
from umbel_client.work import Upload

UNCHANGED: Any = object()  # None removes a label


class Images:
    """The pictures of the gallery."""

    def __init__(self, connection: Connection, jobs: Jobs, imports: Imports) -> None:
        self._connection, self._jobs, self._imports = connection, jobs, imports

    def upload(
        self,
        image: Path | str | bytes,
        *,
        collection: str = "default",
        label: str | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        job_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Upload a picture (a path, or its bytes). `.wait()` until searches can find it.

        job_id: an open import that it belongs to, see `imports.open`. idempotency_key: unset, one of this call, so that
        a repetition after a broken connection is recognised.
        """
        name = name or ("picture" if isinstance(image, bytes) else Path(image).name)
        form = given(collection=collection, label=label, name=name, job_id=str(job_id) if job_id else None)
        if metadata:
            form["metadata"] = json.dumps(metadata)
        answer = self._connection.json(
            "POST",
            "/v1/images",
            repeatable=True,
            data=form,
            files={"file": ("picture", content(image))},
            headers={"Idempotency-Key": idempotency_key or str(uuid4())},
        )
        accepted = Accepted.decode(answer)
        look = None if job_id else lambda job, wait: self._jobs.get(job, wait=wait)
        return Upload(accepted.image_id, accepted.job_id, accepted.status, self.get, look, self._failure)

    def upload_files(
        self,
        files: Iterable[ImageFile],
        *,
        collection: str = "default",
        concurrency: int = CONCURRENCY,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> FolderUpload:
        """Upload many pictures as one job; those that the collection has are not sent again. `.wait()` for the job.

        concurrency: uploads at a time; on_progress is called with how many files more are dealt with.
        """
        sender = Sender(self, self._jobs, self._imports, collection)
        return sender.send(files, concurrency=concurrency, on_progress=on_progress)

    def upload_folder(
        self,
        folder: Path | str,
        *,
        collection: str = "default",
        label_from_folder: bool = False,
        concurrency: int = CONCURRENCY,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> FolderUpload:
        """Upload all pictures of a folder and of those below it, as `upload_files` does.

        label_from_folder: label each picture with the name of the folder that it lies in.
        """
        found = find_images(Path(folder), label_from_folder=label_from_folder)
        return self.upload_files(found, collection=collection, concurrency=concurrency, on_progress=on_progress)

    def check(self, sha256: Sequence[str], *, collection: str = "default") -> dict[str, UUID]:
        """Of these hashes (at most 1,000), the ones that the collection has, with their image."""
        body = {"sha256": list(sha256), "collection": collection}
        known = self._connection.json("POST", "/v1/images:check", repeatable=True, json=body)["known"]
        return {digest: UUID(image_id) for digest, image_id in known.items()}

    def get(self, image_id: UUID) -> Image:
        return Image.decode(self._connection.json("GET", f"/v1/images/{image_id}"))

    def list(
        self, *, collection: str | None = None, label: str | None = None, page_size: int | None = None
    ) -> Iterator[Image]:
        """All images, newest first. page_size: how many are fetched at once."""
        rows = self._connection.pages("/v1/images", collection=collection, label=label, limit=page_size)
        return (Image.decode(row) for row in rows)

    def update(self, image_id: UUID, *, label: str | None = UNCHANGED, metadata: dict[str, Any] = UNCHANGED) -> Image:
        """Change label or metadata; label=None removes the label."""
        changes = {"label": label, "metadata": metadata}
        changes = {field: value for field, value in changes.items() if value is not UNCHANGED}
        answer = self._connection.json("PATCH", f"/v1/images/{image_id}", repeatable=True, json=changes)
        return Image.decode(answer)

    def delete(self, image_id: UUID) -> None:
        """Remove the image, its bytes and its embeddings."""
        self._connection.request("DELETE", f"/v1/images/{image_id}")

    def file(self, image_id: UUID) -> bytes:
        """The picture, upright and without metadata."""
        return self._connection.request("GET", f"/v1/images/{image_id}/file").content

    def thumbnail(self, image_id: UUID) -> bytes:
        """A small JPEG of the picture."""
        return self._connection.request("GET", f"/v1/images/{image_id}/thumbnail").content

    def similar(
        self,
        image_id: UUID,
        *,
        k: int = 10,
        collection: str | None = None,
        label: str | None = None,
        max_distance: float | None = None,
        exact: bool | None = None,
    ) -> SearchResult:
        """The k images most similar to one in the gallery."""
        query = given(k=k, collection=collection, label=label, max_distance=max_distance, exact=exact)
        return SearchResult.decode(self._connection.json("GET", f"/v1/images/{image_id}/similar", params=query))

    def _failure(self, job_id: UUID, image_id: UUID) -> Item | None:
        return next((item for item in self._jobs.items(job_id) if item.image_id == image_id), None)


def content(image: Path | str | bytes) -> bytes:
    return image if isinstance(image, bytes) else Path(image).read_bytes()
