"""Pages of lists that are ordered by a number and then by the image."""

from typing import Any
from uuid import UUID

from pydantic import AfterValidator, Field

from api.fields import NO_CURSOR


def cursor_of(number: float, image_id: UUID) -> str:
    """Where a page ends."""
    return f"{number:.9e}_{image_id}"


def place_of(cursor: str) -> tuple[float, UUID]:
    """What `cursor_of` was given."""
    number, _, image_id = cursor.partition("_")
    return float(number), UUID(image_id)


def ranked_cursor(largest: float) -> tuple[Any, ...]:
    """What is to be said of a text that is a cursor, for Annotated; largest: that the number may be, the least is 0."""

    def checked(cursor: str) -> str:
        try:
            if 0 <= place_of(cursor)[0] <= largest:
                return cursor
        except ValueError:
            pass
        raise ValueError(NO_CURSOR)

    return AfterValidator(checked), Field(description="`next_cursor` of the page before.")
