"""`Umbel("http://…")`: pictures in, jobs followed, the most similar pictures out. Thread-safe."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from client.connection import Connection, checked
from client.models import (
    Accepted,
    Collection,
    Comparison,
    Deletion,
    Duplicates,
    Identified,
    Image,
    Item,
    Job,
    LabelIssues,
    Model,
    ModelDetail,
    Ready,
    SearchResult,
)

LONGEST_WAIT_SECONDS = 25.0
BUSY_PAUSE_SECONDS = 0.5
LARGE_SECONDS = 3600.0  # for the answer to a file that may be a gigabyte


class Umbel(Connection):
    """Every request of the API. See `Connection` for what all of them share."""

    def upload(
        self,
        picture: Path | bytes,
        *,
        collection: str = "default",
        label: str | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        job_id: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Upload a picture. It can be found once its job has finished: see `job`."""
        name = name or (picture.name if isinstance(picture, Path) else "picture")
        form = {
            "collection": collection,
            "label": label,
            "metadata": json.dumps(metadata) if metadata else None,
            "name": name,
            "job_id": str(job_id) if job_id else None,
        }
        answer = self._request(
            "POST",
            "/v1/images",
            data={key: value for key, value in form.items() if value is not None},
            files={"file": ("picture", _bytes(picture))},
            headers={"Idempotency-Key": idempotency_key} if idempotency_key else {},
        )
        return Accepted.model_validate(answer.json())

    def check(self, sha256: Sequence[str], *, collection: str = "default") -> dict[str, UUID]:
        """Of these hashes (at most 1,000), the ones that the collection has, with their image."""
        answer = self._request("POST", "/v1/images:check", json={"sha256": list(sha256), "collection": collection})
        return {digest: UUID(image_id) for digest, image_id in answer.json()["known"].items()}

    def open_import(self, *, collection: str = "default") -> UUID:
        """A job that many uploads can share; `seal` it after the last."""
        body = {"source": {"type": "upload"}, "collection": collection}
        return UUID(self._request("POST", "/v1/imports", json=body).json()["job_id"])

    def import_source(self, source: dict[str, Any], **options: Any) -> UUID:
        """Let the workers read pictures from {"type": "folder", "path": …} or {"type": "s3", "url": …}.

        options: collection, label_from_folder, dry_run. Returns the job's id.
        """
        body = {"source": source, **_given(options)}
        return UUID(self._request("POST", "/v1/imports", json=body).json()["job_id"])

    def import_file(self, path: Path, **options: Any) -> UUID:
        """Upload an archive of pictures, or a list of them (.csv, .jsonl), in one piece.

        options: collection, label_from_folder, dry_run, base. Returns the job's id. Sent once: not retried.
        """
        form = {key: v if isinstance(v, str) else json.dumps(v) for key, v in _given(options).items()}
        with path.open("rb") as file:
            files = {"file": (path.name, file)}
            answer = self._once("POST", "/v1/imports", data=form, files=files, timeout=LARGE_SECONDS)
        return UUID(checked(answer).json()["job_id"])

    def seal(self, job_id: UUID) -> Job:
        """Say that an import has all its pictures."""
        return self._change(job_id, "seal")

    def cancel(self, job_id: UUID) -> Job:
        """End the job where it stands."""
        return self._change(job_id, "cancel")

    def retry(self, job_id: UUID) -> Job:
        """Try its failed pictures once more."""
        return self._change(job_id, "retry")

    def pause(self, job_id: UUID) -> Job:
        """Let it wait until it is resumed."""
        return self._change(job_id, "pause")

    def resume(self, job_id: UUID) -> Job:
        """Go on with a paused job."""
        return self._change(job_id, "resume")

    def job(self, job_id: UUID, *, wait: float = 0) -> Job:
        """The job, once it has finished or `wait` seconds (any number) are over."""
        deadline = time.monotonic() + wait
        while True:
            asked = time.monotonic()
            patience = min(max(0.0, deadline - asked), LONGEST_WAIT_SECONDS)
            job = Job.model_validate(self._request("GET", f"/v1/jobs/{job_id}", params={"wait": patience}).json())
            now = time.monotonic()
            if job.finished or now >= deadline:
                return job
            if now - asked < patience / 2:  # the API was too busy to let us wait there
                time.sleep(min(BUSY_PAUSE_SECONDS, deadline - now))

    def jobs(self, **filters: str) -> Iterator[Job]:
        """All jobs, newest first; filters: status, type."""
        return (Job.model_validate(row) for row in self._pages("/v1/jobs", filters))

    def items(self, job_id: UUID, **filters: str) -> Iterator[Item]:
        """The job's pictures; filters: status."""
        return (Item.model_validate(row) for row in self._pages(f"/v1/jobs/{job_id}/items", filters))

    def items_csv(self, job_id: UUID, **filters: str) -> str:
        """The job's pictures as CSV; filters: status."""
        return self._request("GET", f"/v1/jobs/{job_id}/items.csv", params=filters).text

    def image(self, image_id: UUID) -> Image:
        return Image.model_validate(self._request("GET", f"/v1/images/{image_id}").json())

    def images(self, **filters: str) -> Iterator[Image]:
        """All images, newest first; filters: collection, label."""
        return (Image.model_validate(row) for row in self._pages("/v1/images", filters))

    def file(self, image_id: UUID) -> bytes:
        """The picture, upright and without metadata."""
        return self._request("GET", f"/v1/images/{image_id}/file").content

    def thumbnail(self, image_id: UUID) -> bytes:
        """A small JPEG of the picture."""
        return self._request("GET", f"/v1/images/{image_id}/thumbnail").content

    def similar(self, image_id: UUID, *, k: int = 10, **options: str) -> SearchResult:
        """The k images most similar to one in the gallery; options: collection, max_distance."""
        answer = self._request("GET", f"/v1/images/{image_id}/similar", params={"k": k, **options})
        return SearchResult.model_validate(answer.json())

    def search(
        self,
        picture: Path | bytes | None = None,
        *,
        image_id: UUID | None = None,
        positive: Sequence[UUID] | None = None,
        negative: Sequence[UUID] = (),
        vector: Sequence[float] | None = None,
        k: int = 10,
        **options: Any,
    ) -> SearchResult:
        """The k most similar images to a picture, an image, a vector, or: more like these, less like those.

        options: collection, filter ({"label": […], "metadata": {…}}), max_distance, exact.
        """
        options = {"k": k, **_given(options)}
        if picture is not None:
            form = {key: v if isinstance(v, str) else json.dumps(v) for key, v in options.items()}
            answer = self._request("POST", "/v1/search", data=form, files={"file": ("picture", _bytes(picture))})
        else:
            query: dict[str, Any] = {
                "image_id": image_id and str(image_id),
                "positive": positive and [str(each) for each in positive],
                "negative": [str(each) for each in negative] or None,
                "vector": vector and list(vector),
            }
            answer = self._request("POST", "/v1/search", json={**options, **_given(query)})
        return SearchResult.model_validate(answer.json())

    def identify(
        self, pictures: Sequence[Path | bytes] = (), *, image_ids: Sequence[UUID] = (), **options: Any
    ) -> Identified:
        """What one to five pictures, or images in the gallery, of one subject show; options: collection, filter,
        exact."""
        options = _given(options)
        if pictures:
            form = {key: v if isinstance(v, str) else json.dumps(v) for key, v in options.items()}
            files = [("file", ("picture", _bytes(picture))) for picture in pictures]
            answer = self._request("POST", "/v1/identify", data=form, files=files)
        else:
            body = {**options, "image_ids": [str(each) for each in image_ids]}
            answer = self._request("POST", "/v1/identify", json=body)
        return Identified.model_validate(answer.json())

    def compare(self, *, collection: str | None = None, again: bool = False) -> Comparison:
        """Have pictures compared with their collection: those that are new, or all. See `job`."""
        body = _given({"collection": collection, "again": again})
        return Comparison.model_validate(self._request("POST", "/v1/duplicates", json=body).json())

    def duplicates(self, **filters: Any) -> Duplicates:
        """A page of near-duplicates; filters: collection, max_distance, min_agreement, limit, cursor."""
        return Duplicates.model_validate(self._request("GET", "/v1/duplicates", params=_given(filters)).json())

    def label_issues(self, **filters: Any) -> LabelIssues:
        """A page of labels that are probably wrong; filters: collection, min_doubt, limit, cursor."""
        return LabelIssues.model_validate(self._request("GET", "/v1/label-issues", params=_given(filters)).json())

    def create_collection(self, name: str) -> Collection:
        """A new, empty collection; the one that is there if the name is taken."""
        return Collection.model_validate(self._request("POST", "/v1/collections", json={"name": name}).json())

    def collections(self) -> Iterator[Collection]:
        """All collections, by name."""
        return (Collection.model_validate(row) for row in self._pages("/v1/collections", {}))

    def collection(self, name: str) -> Collection:
        return Collection.model_validate(self._request("GET", _path_of(name)).json())

    def delete_collection(self, name: str) -> Deletion:
        """Delete a collection with all that it has: gone at once, removed by a job. See `job`."""
        return Deletion.model_validate(self._request("DELETE", _path_of(name)).json())

    def models(self) -> list[Model]:
        """The model versions, newest first."""
        return [Model.model_validate(row) for row in self._pages("/v1/models", {})]

    def model(self, model_id: UUID) -> ModelDetail:
        """One version: its whole card, and how its index is."""
        return ModelDetail.model_validate(self._request("GET", f"/v1/models/{model_id}").json())

    def register_model(self, weights: Path, card: Path, split: Path | None = None) -> Model:
        """Make a checkpoint known; split: who it was trained on. The same weights again are the same version."""
        paths = {"weights": weights, "card": card, "split": split}
        files = {field: (path.name, path.read_bytes()) for field, path in paths.items() if path is not None}
        answer = self._request("POST", "/v1/models", files=files, timeout=LARGE_SECONDS)
        return Model.model_validate(answer.json())

    def activate(self, model_id: UUID) -> Model:
        """Let searches use it from now on. It must have every picture."""
        return self._change_model(model_id, "activate")

    def rollback(self, model_id: UUID) -> Model:
        """Go back from the active version to the one it replaced, which is the answer."""
        return self._change_model(model_id, "rollback")

    def retire(self, model_id: UUID) -> Model:
        """Give up its vectors."""
        return self._change_model(model_id, "retire")

    def reindex(self, **options: Any) -> UUID:
        """Have every picture embedded with another model version, or the live index built anew. The job's id.

        options: mode ("embeddings", "index"), model_version, activate, max_drop, m, ef_construction.
        """
        body = {key: str(value) if isinstance(value, UUID) else value for key, value in _given(options).items()}
        return UUID(self._request("POST", "/v1/admin/reindex", json=body).json()["job_id"])

    def ready(self) -> Ready:
        """Whether the service can serve, and what is missing if not."""
        return Ready.model_validate(self._once("GET", "/readyz").json())

    def _change(self, job_id: UUID, verb: str) -> Job:
        return Job.model_validate(self._request("POST", f"/v1/jobs/{job_id}/{verb}").json())

    def _change_model(self, model_id: UUID, verb: str) -> Model:
        return Model.model_validate(self._request("POST", f"/v1/models/{model_id}/{verb}").json())


def _path_of(collection: str) -> str:
    return f"/v1/collections/{quote(collection, safe='')}"


def _bytes(picture: Path | bytes) -> bytes:
    return picture.read_bytes() if isinstance(picture, Path) else picture


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}
