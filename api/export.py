"""/v1/export: a collection's vectors, with the ids, labels and metadata of their images, as one file."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import Field

from api import rooms
from api.access import within
from api.errors import problems
from api.fields import CollectionName, FilterText, Strict, VersionToUse
from api.spool import spool_file
from umbel.base.database import transaction
from umbel.gallery.filters import Filter
from umbel.vectors.export import Export, begin_export, read_rows
from umbel.vectors.npz import write_npz
from umbel.vectors.parquet import check_pyarrow, write_parquet
from umbel.vectors.rows import FileFormat

bp = APIBlueprint("export", __name__, tag="Vectors")

MEDIA_TYPES = {FileFormat.PARQUET: "application/vnd.apache.parquet", FileFormat.NPZ: "application/zip"}
FILE = {"schema": {"type": "string", "format": "binary"}}


class ExportQuery(Strict):
    format: FileFormat = Field(FileFormat.PARQUET, description="Parquet takes pyarrow, an extra of the service.")
    collection: CollectionName | None = None
    model_version: VersionToUse = None
    filter: FilterText = Field(default_factory=Filter)


@bp.get("/v1/export")
@bp.input(ExportQuery, location="query", arg_name="query")
@bp.doc(
    responses={
        200: {"description": "The file", "content": dict.fromkeys(MEDIA_TYPES.values(), FILE)},
        **problems(404, 501, 507),
    }
)
def export(query: ExportQuery) -> Response:
    """Download the vectors of a collection, or of all, with the ids, names, labels and metadata of their images.

    The file is sent while it is written, by id, in flat memory; it has no Content-Length, and one that was cut short
    cannot be opened. Images that have no vector are not in it.
    """
    if query.format is FileFormat.PARQUET:
        check_pyarrow()
    with transaction() as session:
        begun = begin_export(
            session,
            collection=within(query.collection),
            asked=query.filter,
            version_id=query.model_version,
        )
    response = Response(content_type=MEDIA_TYPES[query.format])
    response.headers["Content-Disposition"] = f'attachment; filename="{query.collection or "umbel"}.{query.format}"'
    if request.method != "HEAD":
        _fill(response, begun, query.format)
    return response


def _fill(response: Response, begun: Export, kind: FileFormat) -> None:
    """Answer with the file. What goes wrong at once is raised: a problem, not a file that ends too soon."""
    with ExitStack() as stack:
        stack.enter_context(rooms.transfers().place())
        rows = read_rows(begun)
        parts = (
            write_parquet(begun.facts, rows) if kind is FileFormat.PARQUET else write_npz(begun.facts, rows, spool_file)
        )
        first = next(parts)
        held = stack.pop_all()
    response.response = _sent(chain([first], parts), held)
    response.call_on_close(held.close)  # also when the client disconnects before it reads


def _sent(parts: Iterator[bytes], held: ExitStack) -> Iterator[bytes]:
    with held:
        yield from parts
