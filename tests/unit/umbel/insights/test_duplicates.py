"""Which picture of a group is kept."""

from uuid import UUID

from umbel.insights.duplicates import Copy, keeper


def copy(number: int, *, width: int = 100, size: int = 1000, sharpness: float | None = 50.0) -> Copy:
    return Copy(UUID(int=number), "default", None, None, None, width, 100, size, sharpness)


def test_most_pixels_before_all() -> None:
    assert keeper([copy(1, sharpness=900), copy(2, width=101), copy(3, size=9000)]).image_id.int == 2


def test_then_the_sharpest() -> None:
    assert keeper([copy(1, size=9000), copy(2, sharpness=80), copy(3)]).image_id.int == 2


def test_a_hair_sharper_is_not_sharper() -> None:
    assert keeper([copy(1, sharpness=51), copy(2, sharpness=50, size=2000)]).image_id.int == 2


def test_then_the_largest_file() -> None:
    assert keeper([copy(1), copy(2, size=2000), copy(3)]).image_id.int == 2


def test_then_the_oldest() -> None:
    assert keeper([copy(3), copy(1), copy(2)]).image_id.int == 1


def test_a_picture_that_was_not_seen_is_as_good_as_blurred() -> None:
    assert keeper([copy(1, sharpness=None, size=9000), copy(2)]).image_id.int == 2
    assert keeper([copy(1, sharpness=None), copy(2, sharpness=None, size=9000)]).image_id.int == 2
