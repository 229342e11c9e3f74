"""Lists as CSV: every dialect of spreadsheets and data frames, and what is said of those that cannot be read."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_files.names import normalized

from tests.examples import examples
from tests.unit.umbel.imports.sources.listing import assert_resumes
from tests.unit.umbel.imports.sources.manifests import kept, listed, refused, wrong
from umbel.base.blobs import Blobs
from umbel.base.errors import SourceTooLarge, UnsupportedManifest
from umbel.imports.sources.manifest_text import LONGEST_ROW

ROSE = [("a.jpg", "rose", {}), ("b.jpg", "rosé", {})]
WRITTEN = {
    "plain": "path,label\na.jpg,rose\nb.jpg,rosé\n",
    "no line end at the end": "path,label\na.jpg,rose\nb.jpg,rosé",
    "Windows": "path,label\r\na.jpg,rose\r\nb.jpg,rosé\r\n",
    "old Mac": "path,label\ra.jpg,rose\rb.jpg,rosé\r",
    "line ends doubled by Python on Windows": "path,label\r\r\na.jpg,rose\r\r\nb.jpg,rosé\r\r\n",
    "Excel with a decimal comma": "Path;LABEL\r\na.jpg;rose\r\nb.jpg;rosé\r\n",
    "tabs": "path\tlabel\na.jpg\trose\nb.jpg\trosé\n",
    "pipes": "path|label\na.jpg|rose\nb.jpg|rosé\n",
    "typed": "path, label\na.jpg, rose\nb.jpg, \"rosé\"\n",
    "all in quotes": '"path";"label"\n"a.jpg";"rose"\n"b.jpg";"rosé"\n',
    "sep line": "sep=;\r\npath;label\r\na.jpg;rose\r\nb.jpg;rosé\r\n",
    "sep line in quotes": '"sep=,"\r\npath,label\r\na.jpg,rose\r\nb.jpg,rosé\r\n',
    "sep line with a tab": "SEP=\t\npath\tlabel\na.jpg\trose\nb.jpg\trosé\n",
    "sep line of a rare separator": "sep=^\npath^label\na.jpg^rose\nb.jpg^rosé\n",
    "pandas": ",path,label\n0,a.jpg,rose\n1,b.jpg,rosé\n",
    "R, write.csv": '"","path","label"\n"1","a.jpg","rose"\n"2","b.jpg","rosé"\n',
    "R, write.table": '"path"\t"label"\n"1"\t"a.jpg"\t"rose"\n"2"\t"b.jpg"\t"rosé"\n',
    "PowerShell 5": '#TYPE Selected.System.String\r\n"path","label"\r\n"a.jpg","rose"\r\n"b.jpg","rosé"\r\n',
    "trailing separators": "path,label,,\na.jpg,rose,,\nb.jpg,rosé,,\n",
    "trailing separators in the rows alone": "path,label\na.jpg,rose,\nb.jpg,rosé,,\n",
    "trailing separators left out": "path,label,year,place\na.jpg,rose\nb.jpg,rosé,,\n",
    "blank lines, and rows without values": "\n \n,\npath,label\n\na.jpg,rose\n,\n  \nb.jpg,rosé\n,,,\n\n",
    "columns in another order": "label;path\nrose;a.jpg\nrosé;b.jpg\n",
}  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_is_read_however_it_was_written(text: str, encoding: str, blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, text.encode(encoding), tmp_path)
    assert (listed(source), wrong(source)) == (ROSE, [])
    assert_resumes(source)


def test_big_endian_with_its_mark(blobs: Blobs, tmp_path: Path) -> None:
    assert listed(kept(blobs, b"\xfe\xff" + WRITTEN["tabs"].encode("utf-16-be"), tmp_path)) == ROSE


def test_a_packed_list_is_unpacked(blobs: Blobs, tmp_path: Path) -> None:
    assert listed(kept(blobs, gzip.compress(WRITTEN["plain"].encode()), tmp_path)) == ROSE


def test_other_columns_are_metadata_and_empty_values_absent(blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, 'path,label,place\na.jpg,rose,"Kew, London"\nd/b.jpg,,\n', tmp_path)
    assert listed(source) == [("a.jpg", "rose", {"place": "Kew, London"}), ("d/b.jpg", None, {})]


def test_metadata_may_be_json(blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, 'path,metadata,n\na.jpg,"{""n"": 1, ""m"": [2]}",three\n', tmp_path)
    assert listed(source) == [("a.jpg", None, {"n": "three", "m": [2]})]


def test_names_alone_may_hold_any_separator(blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, 'path\nRose, red.jpg\na;b.jpg\n"c,d.jpg"\n', tmp_path)
    assert [name for name, *_ in listed(source)] == ["Rose, red.jpg", "a;b.jpg", "c,d.jpg"]


def test_a_value_may_span_lines(blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, 'path,note\na.jpg,"one\ntwo"\nb.jpg,x,y\n', tmp_path)
    assert listed(source) == [("a.jpg", None, {"note": "one\ntwo"})]
    assert wrong(source)[0].startswith("Line 4: has 3 values where the heading names 2 columns: column 3 holds “y”")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",,rose,", "give either a path or a url"),
        ("a.jpg,http://x.example/,,", "give either a path or a url"),
        ("a.jpg,,rose,,red", "has 5 values where the heading names 4 columns"),
        ('"a"b.jpg,,,', "is not CSV"),
        ("a.jpg,,,[1]", "metadata is not a JSON object"),
        ("a.jpg,,,{", "metadata is not JSON"),
        (f"a.jpg,,{'x' * 201},", "label"),
        ("a\0.jpg,,,", "path: must not contain a NUL character"),
        ('a.jpg,,,"{""n"": NaN}"', "NaN"),
    ],
)
def test_a_bad_row_costs_only_itself(line: str, reason: str, blobs: Blobs, tmp_path: Path) -> None:
    # Far from the start: a NUL there means that it is no text.
    before = "".join(f"{number}.jpg,,,\n" for number in range(2000))
    source = kept(blobs, f"path,url,label,metadata\n{before}{line}\n3.jpg,,,\n", tmp_path)
    assert len(listed(source)) == 2001
    (detail,) = wrong(source)
    assert detail.startswith("Line 2002: ")
    assert reason in detail


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a.jpg\nb.jpg\n", "Line 1", "neither path nor url, but “a.jpg”. Call the names of the files path"),
        ("\nfile;kind\na.jpg;rose\n", "Line 2", "but “file”, “kind”"),
        ("path,label,Path\na,b,c\n", "Line 1", "columns 1 and 3 are both called “path”"),
        ("path,year,year\na,b,c\n", "Line 1", "columns 2 and 3 are both called “year”"),
        ('"path,label\na.jpg,rose\n', "Line 1", "check its quotes"),
        ("sep=\npath\na.jpg\n", "Line 1", "sep= must name a separator"),
        ("sep=tab\npath\tlabel\na.jpg\trose\n", "Line 1", "sep= must name a separator"),
        (",,,\n\n", "Line 2", "no heading"),
        ("path,label\n\n,,\n", "", "no rows"),
        (b"path,label\na.jpg,rose\nb.jpg,ros\xe9\n", "Line 3, column 2", "0xE9 is not UTF-8; save the list as UTF-8"),
        (b"path,stra\xdfe\na.jpg,x\n", "Line 1, column 2", "0xDF is not UTF-8"),
        ("path,label\na.jpg,x\ud800\n".encode("utf-16", "surrogatepass"), "Line 2, column 2", "half a character"),
        ("path,label\na.jpg,rose\n".encode("utf-16") + b"\n", "Line", "utf-16"),
        ('path,label\na.jpg,"rose\n' + "b.jpg,tulip\n" * 9, "Line 2, column 2", "quote at its start is never closed"),
        ('path,label\na.jpg,"rose\n' + "b.jpg,tulip\n" * 99_999, "Line 2, column 2", "quote at its start is never"),
        ('path,label\n"a.jpg,rose\nb.jpg,rose\n"c.jpg",x\n', "Line 2, column 1", "quote at its start is never closed"),
        ("path,label\na.jpg,rose\nb.jpg," + "x," * LONGEST_ROW, "Line 3", "row has more than"),
        ("x" * (LONGEST_ROW + 9), "Line 1", "row has more than"),
        ("path,label\n" + 'a.jpg,"x\ny"' + ',"x\ny"' * LONGEST_ROW, "Line 2", "row has more than"),
    ],
)  # fmt: skip
def test_a_list_with_a_fault_of_its_own_is_refused(text: str | bytes, where: str, what: str, blobs: Blobs) -> None:
    detail = refused(blobs, text)
    assert detail.startswith(where)
    assert what in detail
    assert "\n" not in detail


def test_too_many_rows_are_refused(blobs: Blobs) -> None:
    kept(blobs, "path\n" + "a.jpg\n" * 5, archive_entries=5)
    with pytest.raises(SourceTooLarge):
        kept(blobs, "path\n" + "a.jpg\n" * 6, archive_entries=5)


@pytest.mark.parametrize("data", [b"", b" \n", b"\0\1\2", b"PK\3\4" + bytes(99), bytes(range(256)), b"\xff\xfe\0\0"])
def test_what_is_no_text_is_no_list(data: bytes, blobs: Blobs) -> None:
    with pytest.raises(UnsupportedManifest):
        kept(blobs, data)


TEXT = st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"]), max_size=20)
FILLED = TEXT.filter(str.strip)
DIALECT = st.fixed_dictionaries(
    {
        "separator": st.sampled_from(",;\t|"),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        "ends": st.sampled_from(["\n", "\r\n", "\r"]),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        "sep_line": st.booleans(),
        "index": st.booleans(),
        "trailing": st.integers(0, 3),
    }
)


@given(rows=st.lists(st.tuples(FILLED, TEXT, TEXT), min_size=1, max_size=6), dialect=DIALECT)
@examples(200)
def test_any_dialect_comes_back_as_it_was_written(
    rows: list[tuple[str, str, str]], dialect: dict[str, Any], blobs: Blobs
) -> None:
    out = io.StringIO(newline="")
    if dialect["sep_line"]:
        out.write(f"sep={dialect['separator']}{dialect['ends']}")
    # Before Python 3.13, csv.writer does not quote a line end other than its own.
    quoting = csv.QUOTE_ALL if dialect["ends"] == "\r" else dialect["quoting"]
    writer = csv.writer(out, delimiter=dialect["separator"], quoting=quoting, lineterminator=dialect["ends"])
    for number, row in enumerate([("path", "label", "note"), *rows]):
        index = [str(number - 1) if number else ""] if dialect["index"] else []
        writer.writerow([*index, *row, *[""] * dialect["trailing"]])
    source = kept(blobs, out.getvalue().encode(dialect["encoding"]))
    found = [
        (json.loads(each.locator)["path"], each.label or "", each.metadata.get("note", "")) for each in source.entries()
    ]
    assert found == [(path.removeprefix("./"), normalized(label), note) for path, label, note in rows]
    assert_resumes(source)
