"""/v1/identify: say what an image shows, or that it is unknown."""

import time
from dataclasses import replace
from typing import Any, Self
from uuid import UUID

from apiflask import APIBlueprint
from flask import request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.access import check_images, within
from api.errors import problems, validated
from api.fields import Base64, File, PartOfImage, PartOfImageText, answer_of
from api.search import BOX_OF_ONE, MatchOut, Scoped, match_out, queries_by_pictures, scope_of
from api.specification import either_body
from umbel.base.database import transaction
from umbel.embedding.query_images import Picture
from umbel.search.identify import Source, identify
from umbel.search.search import Query, query_by_image, stored_part
from umbel.search.vote import MOST_IMAGES

bp = APIBlueprint("identify", __name__, tag="Search")


class IdentifyIn(Scoped):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"image_ids": ["019b2f6e-0000-7000-8000-000000000000"], "collection": "garden"}]
        }
    )

    image_id: UUID | None = Field(None, description="An image in the gallery; it does not vote itself.")
    image_ids: list[UUID] | None = Field(
        None,
        min_length=1,
        max_length=MOST_IMAGES,
        description="Images of one subject in the gallery; none of them votes.",
    )
    images: list[Base64] | None = Field(
        None, min_length=1, max_length=MOST_IMAGES, description="Pictures of one subject, base64."
    )
    box: PartOfImage = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(part is not None for part in (self.image_id, self.image_ids, self.images)) != 1:
            raise ValueError("exactly one of image_id, image_ids and images must be given")
        if self.box is not None and len(self.images or self.image_ids or [self.image_id]) > 1:
            raise ValueError(BOX_OF_ONE)
        return self


class IdentifyFormIn(Scoped):
    file: list[File] = Field(
        min_length=1, max_length=MOST_IMAGES, description="Pictures of one subject; the field may be repeated."
    )
    box: PartOfImageText = None

    @model_validator(mode="after")
    def _box_of_one(self) -> Self:
        if self.box is not None and len(self.file) > 1:
            raise ValueError(BOX_OF_ONE)
        return self


class LabelOut(BaseModel):
    label: str = Field(examples=["tulip"])
    score: float = Field(
        description="Probability that this label is right; with `calibration.source` none its share of the votes. All"
        " add up to at most 1."
    )
    evidence: list[UUID] = Field(description="The neighbors that say so, nearest first.")


class BasisOut(BaseModel):
    source: Source = Field(
        description="Whose calibration the scores rest on: the collection's own, the model's, or none that holds here."
    )
    domain: str | None = Field(description="What the model is for, by its card.", examples=["flowers"])
    note: str | None = Field(description="What to know of the threshold, in words.")


class IdentifyOut(BaseModel):
    best: str | None = Field(description="The label to be trusted, or (`unknown` null) with most votes; else null.")
    unknown: bool | None = Field(
        description="No label is probable enough: the subject may be none of those in the gallery. null: nothing tells,"
        " since no calibration holds for these labels."
    )
    results: list[LabelOut] = Field(description="All labels that got votes, the most probable first.")
    neighbors: list[MatchOut] = Field(description="Who voted: for each picture its nearest labelled images.")
    threshold: float | None = Field(description="Below this score of the first the answer is unknown; null: none.")
    calibration: BasisOut
    model_version: UUID
    took_ms: float = Field(examples=[4.2])


@bp.post("/v1/identify")
@bp.output(IdentifyOut)
@bp.doc(extensions=either_body(json=IdentifyIn, form=IdentifyFormIn), responses=problems(404, 409, 415))
def identify_images() -> Any:
    """Name what one to five images of one subject show, with probabilities and the images that are the evidence.

    The nearest labelled images vote. `unknown` is true when no label reaches the threshold of the collection's own
    calibration (POST /v1/collections/{name}/calibration), or else of the active model's: do not trust `results` then.
    JSON with `images` (base64), `image_id` or `image_ids`, or multipart with one or more `file`. Of a single picture or
    image, `box` has a part named alone.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        form = validated(
            IdentifyFormIn.model_validate, {**request.form.to_dict(), "file": request.files.getlist("file")}
        )
        within(form.collection)  # before a worker embeds the images
        return _voted(queries_by_pictures([Picture(file.read(), form.box) for file in form.file]), form, began)
    body = validated(IdentifyIn.model_validate, request.get_json())
    within(body.collection)
    if body.images is not None:
        return _voted(queries_by_pictures([Picture(image, body.box) for image in body.images]), body, began)
    asked = body.image_ids or [image_id for image_id in [body.image_id] if image_id]
    check_images(asked)
    if body.box is None:
        return _voted([query_by_image(image_id) for image_id in asked], body, began)
    with transaction() as session:
        parts = [stored_part(session, image_id, body.box) for image_id in asked]
    queries = [replace(query, examples=(*asked,)) for query in queries_by_pictures(parts)]
    return _voted(queries, body, began)


def _voted(queries: list[Query], options: Scoped, began: float) -> IdentifyOut:
    found = identify(queries, scope=scope_of(options), exact=options.exact)
    results = [
        LabelOut(label=one.label, score=one.score, evidence=[found.neighbors[at].image_id for at in one.evidence])
        for one in found.ranked
    ]
    return IdentifyOut(
        best=None if found.unknown else results[0].label,
        unknown=found.unknown,
        results=results,
        neighbors=[match_out(match) for match in found.neighbors],
        threshold=found.threshold,
        calibration=answer_of(BasisOut, found.basis),
        model_version=found.version_id,
        took_ms=round((time.perf_counter() - began) * 1000, 2),
    )
