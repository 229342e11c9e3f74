"""/v1/models/{version_id}/vectors: vectors that another model computed."""

import io
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import request, url_for
from pydantic import Field

from api import rooms
from api.access import into
from api.errors import problems, validated
from api.fields import File, IntoCollection, Strict
from api.jobs import JobOut, job_out
from api.specification import either_body
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.jobs.wakeup import waker
from umbel.operations import job_overviews
from umbel.vectors.importing import import_vectors, open_vectors

bp = APIBlueprint("vectors", __name__, tag="Vectors")


class VectorsFormIn(Strict):
    file: File = Field(
        description="Parquet with `vector`, and `image_id` or `sha256`; or npz with `ids` and `vectors`."
    )
    collection: IntoCollection = None
    only_vectors: bool = Field(False, description="Leave labels and metadata as they are, whatever the file has.")


@bp.post("/v1/models/<uuid:version_id>/vectors")
@bp.output(JobOut)
@bp.doc(extensions=either_body(form=VectorsFormIn), responses=problems(409, 501, 507))
def bring_vectors(version_id: UUID) -> Any:
    """Bring vectors of an external model for images of a collection, as Parquet or npz.

    Answered when all are stored, with the job that tells of each row: `indexed`; `failed` for one that names no image
    of the collection or has no usable vector; `duplicate` for one whose image is named again. A vector that is there
    already is replaced. Labels are set and metadata merged (JSON Merge Patch), unless `only_vectors`.
    """
    form = validated(VectorsFormIn.model_validate, {**request.form.to_dict(), **request.files.to_dict()})
    collection = into(form.collection)
    with rooms.transfers().place(), io.BufferedReader(form.file.stream) as stream:  # type: ignore[type-var]
        job_id = import_vectors(
            transaction,
            settings(),
            open_vectors(stream),
            version_id=version_id,
            collection=collection,
            only_vectors=form.only_vectors,
        )
    waker().wake(Queue.INDEX)
    with transaction() as session:
        overview = job_overviews.get_overview(session, job_id)
    return job_out(overview), 200, {"Location": url_for("jobs.get_job", job_id=job_id)}
