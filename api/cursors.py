"""Cursors of searches: where a page ends, of which search it is, and by whose vectors.

Nothing is kept for the next page. Of a search by pictures the cursor has the vector, so that they need not be sent or
embedded again; all else is said again with it.
"""

import hashlib
import json
import math
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import numpy as np
from pydantic import AfterValidator, Field

from api.fields import NO_CURSOR
from umbel.base.types import Vector
from umbel.insights.selection import MOST_RESULTS
from umbel.search.nearest import Place

# Format, distance, image, images before it, model version, what was asked for; then the vector, if any.
FIXED = struct.Struct(">Bd16sI16s8s")
FORMAT = 1
STORED = np.dtype("<f2")  # half precision, as searches use
LONGEST = 8_000  # characters


@dataclass(frozen=True, slots=True)
class SearchCursor:
    """asked: `digest` of what was asked for. vector: of the pictures that were sent, (dim,) float32, unit length."""

    place: Place
    version_id: UUID
    asked: bytes
    vector: Vector | None = None


def digest(asked: Any) -> bytes:
    """What stands for all that the pages of a search have in common, JSON."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()[:8]


def written(cursor: SearchCursor) -> str:
    """As text, for `read`."""
    place = cursor.place
    fixed = (FORMAT, place.distance, place.image_id.bytes, place.passed, cursor.version_id.bytes, cursor.asked)
    vector = b"" if cursor.vector is None else cursor.vector.astype(STORED).tobytes()
    return urlsafe_b64encode(FIXED.pack(*fixed) + vector).rstrip(b"=").decode()


def read(text: str) -> SearchCursor:
    """What `written` was given. Raises ValueError."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        kind, distance, image_id, passed, version_id, asked = FIXED.unpack_from(data)
        vector = np.frombuffer(data[FIXED.size :], STORED).astype(np.float32)
    except (ValueError, struct.error) as error:
        raise ValueError(NO_CURSOR) from error
    right = kind == FORMAT and math.isfinite(distance) and passed < MOST_RESULTS
    if not (right and np.isfinite(vector).all() and (vector.any() or not len(vector))):
        raise ValueError(NO_CURSOR)
    place = Place(distance, UUID(bytes=image_id), passed)
    return SearchCursor(place, UUID(bytes=version_id), asked, vector if len(vector) else None)


def _checked(text: str) -> str:
    read(text)
    return text


CursorText = Annotated[
    str,
    AfterValidator(_checked),
    Field(max_length=LONGEST, description="`next_cursor` of the page before. All but `k` must be as it was then."),
]
