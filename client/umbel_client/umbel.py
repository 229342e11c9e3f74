"""The client: `Umbel("http://…")`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from umbel_client import events
from umbel_client.admin import Admin
from umbel_client.answer import Answer
from umbel_client.collections import Collections
from umbel_client.connection import Connection, as_text, content, form_of, given
from umbel_client.duplicates import LabelErrors, NearDuplicates
from umbel_client.events import Event
from umbel_client.facets import Facets
from umbel_client.images import Images
from umbel_client.imports import LARGE_SECONDS, Imports
from umbel_client.jobs import Jobs
from umbel_client.models import Models
from umbel_client.search import Embedded, Identified, SearchResult
from umbel_client.webhooks import Webhooks

Image = Path | str | bytes  # a path, or the bytes
FORMATS = ("parquet", "npz")


class ActiveModel(Answer):
    """domain: what it is for, by its card."""

    name: str
    domain: str | None = None


class Ready(Answer):
    """Whether the service can serve: `checks` says what of it is there."""

    ready: bool
    checks: dict[str, bool]
    model: ActiveModel | None = None
    workers: list[dict[str, Any]]


class Umbel:
    """A client of one Umbel API. Thread-safe. Its methods raise UmbelClientError: ApiError or Unreachable.

    url, key: unset, the variables UMBEL_URL (else http://127.0.0.1:8080) and UMBEL_KEY. timeout: seconds for one
    answer; retries: further tries after 429, 503 and broken connections, with growing pauses or as Retry-After asks.
    """

    def __init__(
        self, url: str | None = None, *, key: str | None = None, timeout: float = 60, retries: int = 4
    ) -> None:
        self.connection = Connection(url, key=key, timeout=timeout, retries=retries)
        self.jobs = Jobs(self.connection)
        self.imports = Imports(self.connection, self.jobs)
        self.images = Images(self.connection, self.jobs, self.imports)
        self.collections = Collections(self.connection, self.jobs)
        self.models = Models(self.connection)
        self.duplicates = NearDuplicates(self.connection, self.jobs)
        self.label_issues = LabelErrors(self.connection)
        self.admin = Admin(self.connection, self.jobs)
        self.webhooks = Webhooks(self.connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.connection.http.close()

    def search(
        self,
        image: Image | None = None,
        *,
        image_id: UUID | None = None,
        positive: Sequence[UUID] | None = None,
        negative: Sequence[UUID] = (),
        vector: Sequence[float] | None = None,
        k: int = 10,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        max_distance: float | None = None,
        exact: bool | None = None,
        model_version: UUID | None = None,
        with_vectors: bool = False,
    ) -> SearchResult:
        """The k most similar images to a picture, an image, a vector, or: more like these, less like those.

        filter: as docs/reference/filters.md has it, such as {"label": ["rose"]}; max_distance: cosine, 0 to 2; exact:
        scan instead of the index.
        model_version: by another version's vectors than the active one's, such as an external one's; not for a picture.
        with_vectors: the matches have their vectors.
        """
        options = given(k=k, collection=collection, filter=filter, max_distance=max_distance, exact=exact)
        options |= given(model_version=model_version and str(model_version))
        options |= {"with": ["vector"]} if with_vectors else {}
        if image is not None:
            files = [("file", ("picture", content(image)))]
            answer = self._ask("/v1/search", data=form_of(**options), files=files)
        else:
            query = given(
                image_id=image_id and str(image_id),
                positive=positive and [str(each) for each in positive],
                negative=[str(each) for each in negative] or None,
                vector=vector if vector is None else list(vector),
            )
            answer = self._ask("/v1/search", json=options | query)
        return SearchResult.decode(answer)

    def embed(self, pictures: Sequence[Image]) -> Embedded:
        """The vectors of 1 to 16 pictures under the active model. The pictures are not kept."""
        files = [("file", ("picture", content(image))) for image in pictures]
        return Embedded.decode(self._ask("/v1/embed", files=files))

    def export(
        self,
        file: Path | str,
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        model_version: UUID | None = None,
    ) -> Path:
        """Write vectors, with ids, names, labels and metadata of their images, into a file: .parquet or .npz.

        Of a collection, or all; under the active model, or another version. Raises ValueError for another suffix.
        """
        file = Path(file)
        kind = file.suffix.removeprefix(".")
        if kind not in FORMATS:
            raise ValueError(f"{file} must end in .parquet or .npz.")
        query = given(format=kind, collection=collection, filter=as_text(filter))
        query |= given(model_version=model_version and str(model_version))
        self.connection.download("/v1/export", file, params=query, timeout=LARGE_SECONDS)
        return file

    def identify(
        self,
        pictures: Sequence[Image] = (),
        *,
        image_ids: Sequence[UUID] = (),
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        exact: bool | None = None,
    ) -> Identified:
        """What one to five pictures, or images in the gallery, of one subject show."""
        options = given(collection=collection, filter=filter, exact=exact)
        if pictures:
            files = [("file", ("picture", content(image))) for image in pictures]
            answer = self._ask("/v1/identify", data=form_of(**options), files=files)
        else:
            answer = self._ask("/v1/identify", json={**options, "image_ids": [str(each) for each in image_ids]})
        return Identified.decode(answer)

    def facets(
        self,
        by: str = "label",
        *,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> Facets:
        """How many images have each label, value of a metadata key, and so on, among those that pass a filter.

        by: label, collection, metadata.KEY, created_at.year, created_at.month or created_at.day; limit: of values.
        """
        query = given(by=by, collection=collection, filter=as_text(filter), limit=limit)
        return Facets.decode(self.connection.json("GET", "/v1/facets", params=query))

    def events(
        self,
        *,
        types: Sequence[str] = (),
        collection: str | None = None,
        job_id: UUID | None = None,
        after: int | None = None,
        follow: bool = True,
    ) -> Iterator[Event]:
        """What happens from now on, for as long as it is asked; a connection that breaks is made again, without a loss.

        types: such as "job.finished" or "image.*"; job_id: of this job and its images. after: begin after the event
        with this `position`, 0: with the oldest that is kept. follow: False: end with what there is now.
        """
        options: dict[str, Any] = {"types": types, "collection": collection, "job_id": job_id}
        return events.follow(self.connection, **options, after=after, follow=follow)

    def ready(self) -> Ready:
        """Whether the service can serve, and what is missing if not."""
        return Ready.decode(self.connection.object_of(self.connection.once("GET", "/readyz")))

    def _ask(self, path: str, **body: Any) -> Any:
        return self.connection.json("POST", path, repeatable=True, **body)  # a search changes nothing
