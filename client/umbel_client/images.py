"""`umbel.images`: upload, list, describe, label and remove images."""

import builtins
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

from umbel_client.answer import Answer
from umbel_client.connection import Connection, as_text, content, form_of, given
from umbel_client.errors import NotIndexed, StillRunning
from umbel_client.folder import CONCURRENCY, FolderUpload, ImageFile, list_images, send_files, sha256_of
from umbel_client.imports import Imports
from umbel_client.jobs import Jobs, Work
from umbel_client.search import SearchResult
from umbel_client.trash import chosen

POLL_SECONDS = 0.3
UNCHANGED: Any = object()  # None removes a label


class Accepted(Answer):
    """The answer to an upload."""

    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]


class Image(Answer):
    """An image of the gallery, without its bytes."""

    image_id: UUID
    collection: str
    name: str | None
    external_id: str | None = None  # of its sender's own, unique in the collection
    label: str | None
    metadata: dict[str, Any]
    status: str
    media_type: str
    size: int  # bytes of the file as it arrived
    sha256: str  # of these bytes, hex
    width: int
    height: int
    note: str | None  # what is to be said of a damaged file
    created_at: datetime
    replaced_at: datetime | None = None  # when it got the picture that it has now; None: its first
    vector: list[float] | None = None  # under the active model, where it was asked for
    job_id: UUID | None = None  # that it came with; of `get` alone, as the next
    embedded_by: list[UUID] | None = None  # the model versions that it has a vector of


class SignedUrls(Answer):
    """URLs of an image that need no key until they expire."""

    image_id: UUID
    file: str
    thumbnail: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An accepted image. status "duplicate": the collection had these bytes already, as `image_id`."""

    image_id: UUID
    job_id: UUID | None
    status: Literal["queued", "duplicate"]
    _images: "Images"
    _jobs: Jobs
    _shared: bool  # the job is of many images and need not end soon

    def wait(self, timeout: float | None = None) -> Image:
        """The image, once searches can find it. timeout: seconds. Raises NotIndexed, StillRunning."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.job_id and not self._shared:
            self._jobs.get(self.job_id, wait=timeout)
        while (image := self._images.get(self.image_id)).status == "pending":
            if deadline is not None and time.monotonic() >= deadline:
                raise StillRunning(f"Image {self.image_id} is still waiting after {timeout} seconds.")
            time.sleep(POLL_SECONDS)
        if image.status != "indexed":
            items = self._jobs.items(self.job_id) if self.job_id else ()
            item = next((item for item in items if item.image_id == self.image_id), None)
            reason = (item and item.error) or f"Image {self.image_id} was not indexed: {image.status}."
            raise NotIndexed(reason, (item and item.error_code) or image.status)
        return image


@dataclass(frozen=True, slots=True)
class ImageData:
    """A picture as it is shown."""

    data: bytes
    media_type: str


class Images:
    """The images of the gallery."""

    def __init__(self, connection: Connection, jobs: Jobs, imports: Imports) -> None:
        self._connection, self._jobs, self._imports = connection, jobs, imports

    def upload(
        self,
        image: Path | str | bytes,
        *,
        collection: str | None = None,
        label: str | None = None,
        metadata: dict[str, Any] | None = None,
        external_id: str | None = None,
        name: str | None = None,
        job_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Upload an image (a path, or its bytes). Call `.wait()` on the result until searches can find it.

        external_id: your own id of it, unique in the collection; an image that has it gets this picture, and what is
        given of name, label and metadata. job_id: an open import that it belongs to, see `imports.open`.
        idempotency_key: unset, one of this call, so that a retry after a broken connection is recognized.
        """
        name = name or ("picture" if isinstance(image, bytes) else Path(image).name)
        form = form_of(collection=collection, label=label, name=name, job_id=job_id, metadata=metadata or None)
        form |= form_of(external_id=external_id)
        files = {"file": ("picture", content(image))}
        return self._sent(idempotency_key, shared=job_id is not None, data=form, files=files)

    def upload_url(
        self,
        url: str,
        *,
        collection: str | None = None,
        label: str | None = None,
        metadata: dict[str, Any] | None = None,
        external_id: str | None = None,
        name: str | None = None,
        job_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Have the service fetch an image from an http or https URL, and take it in as `upload` does.

        Where the service allows that (UMBEL_IMPORT_URLS), from public addresses, without redirects.
        """
        body = given(url=url, collection=collection, label=label, name=name, metadata=metadata or None)
        body |= given(external_id=external_id, job_id=job_id and str(job_id))
        return self._sent(idempotency_key, shared=job_id is not None, json=body)

    def _sent(self, idempotency_key: str | None, *, shared: bool, **body: Any) -> Upload:
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        answer = self._connection.json("POST", "/v1/images", repeatable=True, headers=headers, **body)
        accepted = Accepted.decode(answer)
        return Upload(accepted.image_id, accepted.job_id, accepted.status, self, self._jobs, shared)

    def upload_files(
        self,
        files: Iterable[ImageFile],
        *,
        collection: str | None = None,
        concurrency: int = CONCURRENCY,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> FolderUpload:
        """Upload many images as one job, without those that the collection has. Call `.wait()` on the result.

        concurrency: uploads at a time; on_progress is called with the number of files done since the last call.
        """

        def upload(file: ImageFile, job_id: UUID) -> str:
            data = file.path.read_bytes()
            return self.upload(data, collection=collection, label=file.label, name=file.name, job_id=job_id).status

        return send_files(
            files,
            known=lambda some: self.known_files(some, collection=collection),
            open_job=lambda: self._imports.open(collection=collection),
            upload=upload,
            jobs=self._jobs,
            concurrency=concurrency,
            on_progress=on_progress,
        )

    def upload_folder(
        self,
        folder: Path | str,
        *,
        collection: str | None = None,
        label_from_folder: bool = False,
        include_hidden: bool = False,
        concurrency: int = CONCURRENCY,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> FolderUpload:
        """Upload all images in and below a folder, as `upload_files` does. Raises NotADirectoryError.

        label_from_folder: label each picture with the name of the folder that it lies in. include_hidden: also what is
        hidden, or kept beside pictures by systems and programs.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder.")
        found = list_images([folder], label_from_folder=label_from_folder, include_hidden=include_hidden)
        done = self.upload_files(found.images, collection=collection, concurrency=concurrency, on_progress=on_progress)
        done.skipped, done.rejected = len(found.skipped), found.rejected | done.rejected
        return done

    def check(self, sha256: Sequence[str], *, collection: str | None = None) -> dict[str, UUID]:
        """Of these hashes (at most 1,000), the ones that the collection has, with their image."""
        body = given(sha256=list(sha256), collection=collection)
        known = self._connection.json("POST", "/v1/images:check", repeatable=True, json=body)["known"]
        return {digest: UUID(image_id) for digest, image_id in known.items()}

    def known_files(self, files: Sequence[ImageFile], *, collection: str | None = None) -> set[ImageFile]:
        """Of these files (at most 1,000), the ones whose bytes the collection has."""
        hashed = {file: sha256_of(file.path) for file in files}
        known = self.check([digest for digest in hashed.values() if digest], collection=collection)
        return {file for file, digest in hashed.items() if digest in known}

    def get(self, image_id: UUID, *, with_vector: bool = False) -> Image:
        """One image. with_vector: and its vector; it is waited for while the image is not embedded yet."""
        query = given(**{"with": "vector" if with_vector else None})
        return Image.decode(self._connection.json("GET", f"/v1/images/{image_id}", params=query))

    def list(
        self,
        *,
        collection: str | None = None,
        label: str | None = None,
        external_id: str | None = None,
        filter: dict[str, Any] | None = None,
        page_size: int | None = None,
    ) -> Iterator[Image]:
        """Images, newest first: all, those of a label or an external id, those that pass a filter.

        filter: as docs/reference/filters.md has it, such as {"label": ["rose"]}; page_size: how many are fetched at
        once.
        """
        filters = {"collection": collection, "label": label, "external_id": external_id, "filter": as_text(filter)}
        return self._connection.pages(Image, "/v1/images", **filters, limit=page_size)

    def count(
        self, *, collection: str | None = None, label: str | None = None, filter: dict[str, Any] | None = None
    ) -> int:
        """How many images `list` would give."""
        query = given(collection=collection, label=label, filter=as_text(filter), total=True, limit=1)
        return int(self._connection.json("GET", "/v1/images", params=query)["total"])

    def update(
        self,
        image_id: UUID,
        *,
        label: str | None = UNCHANGED,
        external_id: str | None = UNCHANGED,
        metadata: dict[str, Any] = UNCHANGED,
    ) -> Image:
        """Change the label, external id or metadata; label=None removes the label, likewise external_id.

        metadata: merged into what is there; None as the value of a key removes it.
        """
        changes = {"label": label, "external_id": external_id, "metadata": metadata}
        changes = {field: value for field, value in changes.items() if value is not UNCHANGED}
        answer = self._connection.json("PATCH", f"/v1/images/{image_id}", repeatable=True, json=changes)
        return Image.decode(answer)

    def update_many(
        self,
        ids: Sequence[UUID] | None = None,
        *,
        filter: dict[str, Any] | None = None,
        collection: str | None = None,
        label: str | None = UNCHANGED,
        metadata: dict[str, Any] = UNCHANGED,
    ) -> Work:
        """Change images as `update` does, by a job: these (at most 10,000), or those that pass a filter."""
        changes = {"label": label, "metadata": metadata}
        changes = {field: value for field, value in changes.items() if value is not UNCHANGED}
        return self._jobs.begin("PATCH", "/v1/images", json=chosen(ids, filter, collection) | changes)

    def delete_many(
        self,
        ids: Sequence[UUID] | None = None,
        *,
        filter: dict[str, Any] | None = None,
        collection: str | None = None,
    ) -> Work:
        """Remove images by a job, chosen as `update_many` does. `trash.restore(job_id=…)` brings them back."""
        return self._jobs.begin("DELETE", "/v1/images", json=chosen(ids, filter, collection))

    def delete(self, image_id: UUID) -> None:
        """Remove the image. `trash.restore` brings it back, for some days."""
        self._connection.request("DELETE", f"/v1/images/{image_id}")

    def file(self, image_id: UUID) -> bytes:
        """The image, upright and without metadata."""
        return self._connection.request("GET", f"/v1/images/{image_id}/file").content

    def open_file(self, image_id: UUID) -> ImageData:
        """The same, with its media type."""
        answer = self._connection.request("GET", f"/v1/images/{image_id}/file")
        return ImageData(answer.content, answer.headers["Content-Type"])

    def thumbnail(self, image_id: UUID) -> bytes:
        """A small JPEG of the image."""
        return self._connection.request("GET", f"/v1/images/{image_id}/thumbnail").content

    def sign(self, image_ids: Sequence[UUID], *, expires_in: int = 3600) -> builtins.list[SignedUrls]:
        """URLs of up to 1,000 images that need no key, for `expires_in` seconds, a week at most."""
        body = {"image_ids": [str(each) for each in image_ids], "expires_in": expires_in}
        answer = self._connection.json("POST", "/v1/images:sign", repeatable=True, json=body)
        return [SignedUrls.decode(one) for one in answer["items"]]

    def similar(
        self,
        image_id: UUID,
        *,
        k: int = 10,
        collection: str | None = None,
        label: str | None = None,
        filter: dict[str, Any] | None = None,
        max_distance: float | None = None,
        exact: bool | None = None,
        model_version: UUID | None = None,
        with_vectors: bool = False,
        collapse: Literal["duplicates"] | None = None,
        group_by: str | None = None,
        diversity: float | None = None,
        cursor: str | None = None,
    ) -> SearchResult:
        """The k images most similar to one in the gallery. with_vectors: and the vector of each; others: as `search`.

        model_version: by another version's vectors than the active one's, such as an external one's.
        """
        query = given(k=k, collection=collection, label=label, max_distance=max_distance, exact=exact)
        query |= given(filter=as_text(filter), collapse=collapse, group_by=group_by, diversity=diversity, cursor=cursor)
        query |= given(model_version=model_version and str(model_version))
        query |= {"with": "vector"} if with_vectors else {}
        return SearchResult.decode(self._connection.json("GET", f"/v1/images/{image_id}/similar", params=query))
