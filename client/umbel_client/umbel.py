"""The client: `Umbel("http://…")`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, Unpack
from uuid import UUID

from umbel_client import events
from umbel_client.admin import Admin
from umbel_client.answer import Answer
from umbel_client.collections import Collections
from umbel_client.connection import Connection, as_text, content, form_of, given
from umbel_client.curation import Curation
from umbel_client.duplicates import LabelErrors, NearDuplicates
from umbel_client.errors import ApiError
from umbel_client.events import Event
from umbel_client.facets import Facets
from umbel_client.images import Images
from umbel_client.imports import LARGE_SECONDS, Imports
from umbel_client.jobs import Jobs
from umbel_client.keys import Keys
from umbel_client.models import Models
from umbel_client.queries import PAGE, Box, Image, Queries, Search, SearchOptions
from umbel_client.search import Embedded, Identified, Match, SearchResult
from umbel_client.syncs import Syncs
from umbel_client.trash import Trash
from umbel_client.webhooks import Webhooks

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
        self._queries = Queries(self.connection)
        self.jobs = Jobs(self.connection)
        self.imports = Imports(self.connection, self.jobs)
        self.images = Images(self.connection, self.jobs, self.imports)
        self.trash = Trash(self.connection, self.jobs)
        self.collections = Collections(self.connection, self.jobs)
        self.models = Models(self.connection)
        self.duplicates = NearDuplicates(self.connection, self.jobs)
        self.label_issues = LabelErrors(self.connection)
        self.curation = Curation(self.connection)
        self.admin = Admin(self.connection, self.jobs)
        self.webhooks = Webhooks(self.connection)
        self.syncs = Syncs(self.connection, self.jobs)
        self.keys = Keys(self.connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.connection.http.close()

    def search(self, image: Image | Sequence[Image] | None = None, **options: Unpack[SearchOptions]) -> SearchResult:
        """The k most similar images to a picture, an image, a vector, or: more like these, less like those.

        image: a picture, or several of one thing. image_id, vector, or positive with negative: in its stead.
        box: of the one picture, or of the image with image_id, search by this part alone.
        k: at most 1,000. filter: as docs/reference/filters.md has it, such as {"label": ["rose"]}; max_distance:
        cosine, 0 to 2; exact: scan instead of the index.
        model_version: by another version's vectors than the active one's, such as an external one's; not for a picture.
        with_vectors: the matches have their vectors.
        collapse: "duplicates", one image of each group of near-duplicates; group_by: "label" or "metadata.KEY", the
        nearest image of each; diversity: 0 to 1, images that differ from each other.
        cursor: `next_cursor` of the page before, with the same options but without a picture; see `search_all`.
        """
        return self._queries.one(image, options)

    def search_all(
        self,
        image: Image | Sequence[Image] | None = None,
        *,
        limit: int | None = None,
        page_size: int = PAGE,
        **options: Unpack[SearchOptions],
    ) -> Iterator[Match]:
        """All matches, nearest first, at most `limit`, and 10,000 at most: pages are fetched as they are reached.

        Options as for `search`, but k. With `diversity` there is one page alone.
        """
        for page in self.search_pages(image, limit=limit, page_size=page_size, **options):
            yield from page.matches

    def search_pages(
        self,
        image: Image | Sequence[Image] | None = None,
        *,
        limit: int | None = None,
        page_size: int = PAGE,
        **options: Unpack[SearchOptions],
    ) -> Iterator[SearchResult]:
        """The same page by page."""
        return self._queries.pages(image, options, limit=limit, page_size=page_size)

    def search_batch(self, queries: Sequence[Search]) -> list[SearchResult | ApiError]:
        """The answers to up to 100 searches in one request, in their order; for one that failed its error.

        Each is a dict with `image` and the options of `search`. What would fail all of them is raised.
        """
        return self._queries.batch(queries)

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
        box: Box | None = None,
        collection: str | None = None,
        filter: dict[str, Any] | None = None,
        exact: bool | None = None,
    ) -> Identified:
        """What one to five pictures, or images in the gallery, of one subject show. box: a part of a single one."""
        options = given(collection=collection, filter=filter, exact=exact, box=box)
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
