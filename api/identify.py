"""/v1/identify: what a picture shows, or that it is unknown."""

import time
from typing import Any

from apiflask import APIBlueprint
from flask import request

from api.access import check_images, within
from api.errors import problems, validated
from api.schemas.identify import IdentifyFormIn, IdentifyIn, IdentifyOut, LabelOut
from api.schemas.search import Scoped
from api.search import decoded, match_out, queries_by_image, scope_of
from api.specification import either_body
from umbel.search.identify import identify
from umbel.search.search import Query, query_by_image

bp = APIBlueprint("identify", __name__, tag="Search")

EITHER_BODY = either_body(json=IdentifyIn, form=IdentifyFormIn)


@bp.post("/v1/identify")
@bp.output(IdentifyOut)
@bp.doc(extensions=EITHER_BODY, responses=problems(400, 404, 409, 413, 415, 422, 503))
def identify_images() -> Any:
    """Say what one to five pictures of one subject show, with how much certainty, by whose evidence.

    The nearest labelled images vote. `unknown` is true when no label reaches the threshold that was learnt for the
    active model: then do not trust `results`. JSON with `images` (base64) or `image_ids`, or multipart with one or more
    `file`.
    """
    began = time.perf_counter()
    if request.mimetype == "multipart/form-data":
        form = validated(
            IdentifyFormIn.model_validate, {**request.form.to_dict(), "file": request.files.getlist("file")}
        )
        within(form.collection)  # before a worker is bothered
        return _voted(queries_by_image([file.read() for file in form.file]), form, began)
    body = validated(IdentifyIn.model_validate, request.get_json(force=True))
    within(body.collection)
    if body.images is not None:
        return _voted(queries_by_image([decoded(image) for image in body.images]), body, began)
    check_images(body.image_ids or ())
    return _voted([query_by_image(image_id) for image_id in body.image_ids or ()], body, began)


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
        threshold=found.rule.unknown_below,
        model_version=found.version_id,
        took_ms=round((time.perf_counter() - began) * 1000, 2),
    )
