"""Pages of lists that are ordered by a number and then by the image."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field


def cursor_of(number: float, image_id: UUID) -> str:
    """Where a page ends."""
    return f"{number:.9e}_{image_id}"


def place_of(cursor: str) -> tuple[float, UUID]:
    """What `cursor_of` was given."""
    number, _, image_id = cursor.partition("_")
    return float(number), UUID(image_id)


def _checked(cursor: str) -> str:
    try:
        number, _ = place_of(cursor)
    except ValueError as error:
        raise ValueError("must be the `next_cursor` of the page before") from error
    if not 0 <= number <= LARGEST:
        raise ValueError("must be the `next_cursor` of the page before")
    return cursor


LARGEST = 2.001  # a probability, or a cosine distance with its rounding
RankedCursor = Annotated[str, AfterValidator(_checked), Field(description="`next_cursor` of the page before.")]
