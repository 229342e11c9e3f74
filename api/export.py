"""/v1/export: a collection's vectors, with the ids, labels and metadata of their images, as one file."""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response
from pydantic import BeforeValidator, Field, WithJsonSchema

from api import rooms
from api.access import within
from api.errors import problems
from api.fields import CollectionName, Strict, json_object
from api.search import FilterIn
from api.spool import spool_file
from umbel.base.database import transaction
from umbel.vectors.export import begin_export, read_rows
from umbel.vectors.npz import write_npz
from umbel.vectors.parquet import check_pyarrow, write_parquet
from umbel.vectors.rows import FileFormat

bp = APIBlueprint("export", __name__, tag="Vectors")

MEDIA_TYPES = {FileFormat.PARQUET: "application/vnd.apache.parquet", FileFormat.NPZ: "application/zip"}
FILE = {"schema": {"type": "string", "format": "binary"}}


FilterText = Annotated[
    FilterIn,
    BeforeValidator(json_object),
    WithJsonSchema({"type": "string", "examples": ['{"label": ["tulip"]}']}),
    Field(description="As in a search, as JSON: only these images."),
]


class ExportQuery(Strict):
    format: FileFormat = Field(FileFormat.PARQUET, description="Parquet takes pyarrow, an extra of the service.")
    collection: CollectionName | None = None
    model_version: UUID | None = Field(None, description="Whose vectors; left out: the active version's.")
    filter: FilterText = Field(default_factory=FilterIn)


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
            asked=query.filter.as_filter(),
            version_id=query.model_version,
        )
    place = rooms.transfers().take()
    try:
        rows = read_rows(begun)
        parts = (
            write_parquet(begun.facts, rows)
            if query.format is FileFormat.PARQUET
            else write_npz(begun.facts, rows, spool_file)
        )
        first = next(parts)  # what goes wrong at once is a problem, not a file that ends too soon
    except BaseException:
        rooms.transfers().leave(place)
        raise
    response = Response(_sent(chain([first], parts), place), content_type=MEDIA_TYPES[query.format])
    name = f"{query.collection or 'umbel'}.{query.format}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _sent(parts: Iterator[bytes], place: object) -> Iterator[bytes]:
    try:
        yield from parts
    finally:
        rooms.transfers().leave(place)
