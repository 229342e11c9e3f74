"""/v1/embed: vectors of images that are not kept."""

import time
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import request
from pydantic import BaseModel, ConfigDict, Field

from api.errors import problems, validated
from api.fields import Base64, File, Strict
from api.search import EXAMPLE_PICTURE, MOST_PICTURES, queries_by_pictures
from api.specification import either_body
from umbel.base.errors import NotReady
from umbel.embedding.query_images import Picture

bp = APIBlueprint("embed", __name__, tag="Vectors")


class EmbedIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [EXAMPLE_PICTURE]}]})

    images: list[Base64] = Field(min_length=1, max_length=MOST_PICTURES, description="Pictures, base64.")


class EmbedFormIn(Strict):
    file: list[File] = Field(min_length=1, max_length=MOST_PICTURES, description="Pictures; the field may be repeated.")


class EmbedOut(BaseModel):
    vectors: list[list[float]] = Field(
        description="One for each picture, in their order: unit length, `dim` numbers.", examples=[[[0.6, -0.8]]]
    )
    dim: int = Field(examples=[2])
    model_version: UUID
    took_ms: float = Field(examples=[42.0])


@bp.post("/v1/embed")
@bp.output(EmbedOut)
@bp.doc(extensions=either_body(json=EmbedIn, form=EmbedFormIn), responses=problems(415))
def embed() -> Any:
    """Compute the vectors of 1 to 16 pictures with the active model. The pictures are not kept.

    JSON with `images` (base64), or multipart with one or more `file`. The vectors are those that a search by these
    pictures uses.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        form = validated(EmbedFormIn.model_validate, {**request.form.to_dict(), "file": request.files.getlist("file")})
        pictures = [file.read() for file in form.file]
    else:
        pictures = validated(EmbedIn.model_validate, request.get_json()).images
    queries = queries_by_pictures([Picture(each) for each in pictures])
    version = queries[0].version
    if version is None or any(query.version != version for query in queries):
        raise NotReady("Another model has become active meanwhile; ask again.")
    return EmbedOut(
        vectors=[query.vector.tolist() for query in queries if query.vector is not None],
        dim=version.dim,
        model_version=version.id,
        took_ms=round((time.perf_counter() - began) * 1000, 2),
    )
