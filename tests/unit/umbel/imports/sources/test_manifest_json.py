"""Lists as JSON Lines, and as one array."""

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
from umbel.imports.sources.manifest_text import LONGEST_ROW


def test_a_line_says_what_a_row_says(blobs: Blobs, tmp_path: Path) -> None:
    line = '{"path": "a.jpg", "label": "rose", "metadata": {"n": 1}}\n'
    assert listed(kept(blobs, line, tmp_path)) == [("a.jpg", "rose", {"n": 1})]


@pytest.mark.parametrize(
    "text",
    [
        '{"path": "a.jpg"}\n{"path": "b.jpg"}\n',
        '{"path": "a.jpg"}\r\n\r\n{"path": "b.jpg"}',
        ' \n {"path": "a.jpg"} \r{"path": "b.jpg"}\r',
        '[{"path": "a.jpg"}, {"path": "b.jpg"}]\n',
        '[\r\n  {\r\n    "path": "a.jpg"\r\n  },\r\n  {\r\n    "path": "b.jpg"\r\n  }\r\n]\r\n',
        '[{"path":"a.jpg"}\n,{"path":"b.jpg"}\n]',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_is_read_however_it_was_written(text: str, encoding: str, blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, text.encode(encoding), tmp_path)
    assert [name for name, *_ in listed(source)] == ["a.jpg", "b.jpg"]
    assert_resumes(source)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '"text"',
        "{}",
        '{"path": "a.jpg"},',
        '{"path": "a.jpg",}',
        '{"path": "a.jpg", "url": "http://x.example/"}',
        '{"path": 5}',
        '{"path": ""}',
        '{"path": "a.jpg", "colour": "red"}',
        '{"path": "a.jpg", "\\u0000\\ud800": "red"}',
        '{"path": "a.jpg", "metadata": []}',
        '{"path": "a.jpg", "metadata": {"n": NaN}}',
        '{"path": "a.jpg", "metadata": {"n": 1e999}}',
        '{"path": "a.jpg", "metadata": {"n": "\\u0000"}}',
        '{"path": "a.jpg", "metadata": {"n": "\\ud800"}}',
        '{"path": "a\\u0000.jpg"}',
        '{"path": "a.jpg", "label": "\\ud800"}',
        '{"path": "a.jpg", "metadata": {"n": ' + "[" * 5000 + "]" * 5000 + "}}",
        '{"path": "a.jpg", "metadata": {"n": "' + "x" * 20_000 + '"}}',
        '{"path": "a.jpg", "metadata": {"n": ' + "9" * 5000 + "}}",
    ],
)
def test_a_bad_line_costs_only_itself(line: str, blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, f'{{"path": "1.jpg"}}\n{line}\n{{"path": "3.jpg"}}\n', tmp_path)
    assert [name for name, *_ in listed(source)] == ["1.jpg", "3.jpg"]
    assert [detail.split(":")[0] for detail in wrong(source)] == ["Line 2"]
    assert_resumes(source)


@pytest.mark.parametrize(
    "value",
    ["5", "[]", "null", '{"path": "a.jpg", "metadata": {"n": NaN}}', '{"path": "a\\u0000.jpg"}', '{"path": "\\ud800"}'],
)
def test_a_bad_value_of_an_array_costs_only_itself(value: str, blobs: Blobs, tmp_path: Path) -> None:
    source = kept(blobs, f'[{{"path": "1.jpg"}},\n{value},\n{{"path": "3.jpg"}}]', tmp_path)
    assert [name for name, *_ in listed(source)] == ["1.jpg", "3.jpg"]
    assert [detail.split(":")[0] for detail in wrong(source)] == ["Line 2"]


def test_what_json_escapes_may_be_text(blobs: Blobs, tmp_path: Path) -> None:
    metadata = {"n": "\\u0000", "deep": [[[]]], "": 2**70, "$key": 0.1}
    source = kept(blobs, json.dumps({"path": "a.jpg", "metadata": metadata}), tmp_path)
    assert listed(source) == [("a.jpg", None, metadata)]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ('{"path": "a.jpg"},\n{"path": "b.jpg"}\n', "Line 1, column 18", "without a comma behind it"),
        ('\n{\n  "path": "a.jpg"\n}\n', "Line 2, column 2", "each line must be one whole object"),
        ('{"images": []}\n', "Line 1", "neither path nor url, but “images”"),
        (b'{"path": "a.jpg"}\n{"path": "caf\xe9.jpg"}\n', "Line 2", "0xE9 is not UTF-8"),
        ('{"path": "a.jpg"}\n{"path": "' + "x" * LONGEST_ROW, "Line 2", "row has more than"),
        ("[]", "", "no rows"),
        ('[{"path": "a.jpg"},\n]', "Line 2, column 1", "Expecting value"),
        ('[{"path": "a.jpg"}\n {"path": "b.jpg"}]', "Line 2, column 2", "expecting , or ]"),
        ('[{"path": "a.jpg"}', "Line 1, column 19", "expecting , or ]"),
        ('[{"path": "a.jpg"},\n{"path": "b.jp', "Line 2, column 10", "Unterminated string"),
        ('[{"path": "a.jpg"}]\n[]', "Line 2, column 1", "expecting the end"),
        ('[{"file_name": "a.jpg"}]', "Line 1", "neither path nor url, but “file_name”"),
        ('[{"path": "a.jpg"},\n' + "[" * 99_999, "Line 2", "nested too deeply"),
        ('[{"path": "a.jpg"},\n' + "9" * 5000 + "]", "Line 2", "too long a number"),
        ('[{"path": "a.jpg"},\n{"path": "' + "x" * 3 * LONGEST_ROW + '"}]', "Line 2", "row has more than"),
        (b'[{"path": "a.jpg"},\n{"path": "caf\xe9.jpg"}]', "Line 2", "0xE9 is not UTF-8"),
    ],
)
def test_a_list_with_a_fault_of_its_own_is_refused(text: str | bytes, where: str, what: str, blobs: Blobs) -> None:
    detail = refused(blobs, text)
    assert detail.startswith(where)
    assert what in detail
    assert "\n" not in detail


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a$. ", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"path": TEXT, "label": st.none() | TEXT, "metadata": st.dictionaries(TEXT, VALUE, max_size=3)}
    ),
    min_size=1,
    max_size=6,
)


@given(
    rows=ROWS,
    indent=st.sampled_from([None, 0, 2]),
    array=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@examples(150)
def test_a_list_comes_back_as_it_was_written(
    rows: list[dict[str, Any]], indent: int | None, array: bool, encoding: str, blobs: Blobs
) -> None:
    ascii_only, ends = indent == 0, "\r\n" if indent else "\n"
    if array:
        text = json.dumps(rows, ensure_ascii=ascii_only, indent=indent).replace("\n", ends)
    else:
        text = "".join(json.dumps(row, ensure_ascii=ascii_only) + ends for row in rows)
    source = kept(blobs, text.encode(encoding))
    found = [(json.loads(each.locator)["path"], each.label, each.metadata) for each in source.entries()]
    assert found == [
        (row["path"].removeprefix("./"), row["label"] and normalized(row["label"]), row["metadata"]) for row in rows
    ]
    assert_resumes(source)
