"""Pictures and thumbnails over HTTP: validated, in ranges, and from a file or in parts, never whole in memory."""

import io
from functools import cache
from typing import Any, BinaryIO
from uuid import UUID

from flask import Response, request
from werkzeug.http import is_resource_modified, parse_range_header
from werkzeug.wsgi import FileWrapper, wrap_file

from api import rooms
from api.decoding import decoders
from api.errors import answers
from api.signatures import open_to_others
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.gallery import images
from umbel.gallery.renditions import Rendition, Renditions

FOR_EVER = "private, max-age=31536000, immutable"  # what is shown of an image without an external id does not change
ASK_AGAIN = "private, no-cache"  # an upload may replace the picture
READ = 2**17  # bytes of an answer at a time


@cache
def _renditions() -> Renditions:
    return Renditions(
        transaction, blobs(), decoders, place=rooms.decodes().place, large_place=rooms.large_decodes().place
    )


def responses(description: str, media_type: str) -> Any:
    """For `bp.doc(responses=…)`: what `served` answers with."""
    whole = answers(description, media_type, 413, 415, 416, 422, 507)
    part = {206: {**whole[200], "description": "The range that was asked for"}}
    return {**whole, **part, 304: {"description": "The caller has it already"}}


def served(image_id: UUID, rendition: Rendition) -> Response:
    """A rendition of an image. Nothing is opened or made for HEAD, or for a browser that has it already."""
    with transaction() as session:
        image = images.get_image(session, image_id)
    response = Response(content_type=rendition.media_type(image.media_type))
    response.set_etag(image.sha256.hex(), weak=True)  # of the bytes that arrived; those served are made of them
    response.last_modified = image.replaced_at or image.created_at
    response.headers["Cache-Control"] = FOR_EVER if image.external_id is None else ASK_AGAIN
    open_to_others(response, replaceable=image.external_id is not None)
    response.headers["Accept-Ranges"] = "bytes"
    if not is_resource_modified(request.environ, response.headers["ETag"], last_modified=response.last_modified):
        response.status_code = 304
    elif request.method == "HEAD":
        response.automatically_set_content_length = False
        size = _renditions().size(image, rendition)
        if size is not None:
            response.content_length = size
    else:
        _fill(response, _renditions().open(image, rendition))
    return response


def _fill(response: Response, file: BinaryIO) -> None:
    """Answer with the file, or the range of it that is asked for. Raises RequestedRangeNotSatisfiable."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    response.direct_passthrough = True
    response.content_length = size
    if _wants_range():
        response.response = FileWrapper(file, READ)
        try:
            response.make_conditional(request.environ, accept_ranges=True, complete_length=size)
        except BaseException:
            file.close()
            raise
    elif isinstance(getattr(file, "raw", file), io.FileIO):
        response.response = wrap_file(request.environ, file, READ)  # the server sends it without a thread
    else:
        response.response = FileWrapper(file, READ)


def _wants_range() -> bool:
    """Whether one range is asked for, of what has not changed; other ranges may be ignored (RFC 9110, 14.2)."""
    asked = parse_range_header(request.headers.get("Range"))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return False
    return not request.headers.get("If-Range", "").startswith("W/")  # never equal by the strong comparison
