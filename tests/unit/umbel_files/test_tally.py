"""What was not taken, in words."""

import pytest
from umbel_files.kinds import Kind
from umbel_files.tally import MOST_KINDS, Tally


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], ""),
        ([("a.jxl", Kind.JPEG_XL)], "1 JPEG XL"),
        ([("a.txt", None)], "1 file (1 .txt)"),
        ([("README", None)], "1 file (1 without suffix)"),
        (
            [("a.nef", Kind.CAMERA_RAW), ("b.JSON", None), ("c.json", None), ("d.html", None), ("e", Kind.CAMERA_RAW)],
            "2 camera raw, 3 other files (2 .json, 1 .html)",
        ),
        ([(f"{n}.s{n}", None) for n in range(7)], "7 files (1 .s0, 1 .s1, 1 .s2, 1 .s3, 1 .s4, 2 more kinds)"),
    ],
)
def test_pictures_are_told_by_their_kind_and_others_by_their_suffix(
    files: list[tuple[str, Kind | None]], told: str
) -> None:
    tally = Tally()
    for name, kind in files:
        tally.add(name, kind)
    assert (str(tally), tally.total, sum(tally.counts().values())) == (told, len(files), len(files))


def test_a_count_goes_on_and_tells_only_so_many_kinds_apart() -> None:
    tally = Tally({".json": 2, "hidden": 1})
    for number in range(100):
        tally.add(f"{number}.x{number}", None)
    tally.add("a.json", None)
    counts = tally.counts()
    assert (tally.total, counts[".json"], counts["hidden"]) == (104, 3, 1)
    assert len(counts) == MOST_KINDS + 1
    assert Tally(counts).counts() == counts
