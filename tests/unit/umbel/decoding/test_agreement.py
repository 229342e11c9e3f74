"""What is promised of a picture before it is decoded holds when it is."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from tests.images import image_bytes, opened, published
from umbel.base.errors import ImageError
from umbel.base.settings import Settings
from umbel.decoding.images import decode, inspect, published_type, quick_look

LIMITS = Settings()
FILES = {
    "baseline": image_bytes(1, size=(120, 80)),
    "progressive": image_bytes(2, size=(120, 80), progressive=True),
    "gray": image_bytes(3, size=(80, 120)),
    "restarts": image_bytes(4, size=(120, 80), restart_marker_rows=1),
    "PNG": image_bytes(5, size=(90, 60), kind="PNG"),
    "GIF": image_bytes(5, size=(90, 60), kind="GIF"),
    "WebP": image_bytes(6, size=(90, 60), kind="WEBP"),
    "TIFF": image_bytes(7, size=(90, 60), kind="TIFF", compression="tiff_lzw"),
    "BMP": image_bytes(8, size=(90, 60), kind="BMP"),
}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A picture file with bytes changed, cut off, taken out or put in, mostly near its start."""
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.one_of(st.integers(0, min(700, len(data) - 1)), st.integers(0, len(data) - 1)))
        match draw(st.sampled_from(["change", "cut", "remove", "insert"])):
            case "change":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[max(at, 20) :]
            case "remove":
                del data[at : at + draw(st.integers(1, 9))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=9))
        if len(data) < 2:
            break
    return bytes(data)


@given(damaged())
def test_a_picture_of_which_something_is_told_decodes_to_it(data: bytes) -> None:
    info = None
    with suppress(ImageError):
        info = inspect(data, LIMITS)
    if info is not None:
        assert decode(data, LIMITS).size == (info.width, info.height)
        shown = opened(published(data, LIMITS))
        assert (shown.size, shown.get_format_mimetype()) == ((info.width, info.height), published_type(info.media_type))


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_picture_cut_anywhere_is_refused_at_once_or_decodes(name: str, data: st.DataObject) -> None:
    cut = FILES[name][: data.draw(st.integers(0, len(FILES[name])))]
    try:
        info = inspect(cut, LIMITS)
    except ImageError:
        return
    assert decode(cut, LIMITS).size == (info.width, info.height)


def test_a_whole_picture_needs_no_decoding_to_be_promised() -> None:
    told = {name: quick_look(data, LIMITS) is not None for name, data in FILES.items()}
    assert told == {name: name in ("baseline", "progressive", "gray", "restarts", "PNG") for name in FILES}
