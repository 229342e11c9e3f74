"""Manifests: what a line says, what is wrong with it, and going on in the middle."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from tests.images import image_bytes
from tests.unit.umbel.imports.sources.listing import assert_resumes, contents, rejected
from umbel.base.blobs import Blobs
from umbel.base.errors import AddressRefused, ImageError, SourceError, SourceTooLarge, Unreadable, UnsafePath
from umbel.base.settings import Settings
from umbel.imports.sources import Entry, ManifestSource, open_source
from umbel.imports.sources.manifest import Manifest
from umbel.imports.sources.manifest_records import LONGEST_LINE

TEXT = st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"]), max_size=20)
LABEL = TEXT.filter(bool)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "root"
    path.mkdir()
    return path


def kept(blobs: Blobs, text: str | bytes, base: Path | None = None, kind: str = "csv", **settings: Any) -> Manifest:
    blobs.put("uploads/m", text.encode() if isinstance(text, str) else text)
    spec = ManifestSource(blob_key="uploads/m", format=kind, base=str(base) if base else None)  # type: ignore[arg-type]
    source = open_source(spec, blobs, Settings(**{"import_roots": [str(base)] if base else [], **settings}))
    assert isinstance(source, Manifest)
    return source


def listed(source: Manifest) -> list[tuple[str, str | None, dict[str, Any]]]:
    return [(each.name, each.label, each.metadata) for each in source.entries() if each.rejected is None]


def wrong(source: Manifest) -> list[str]:
    found = [each.rejected for each in source.entries() if each.rejected]
    assert {each.code for each in found} <= {"bad_manifest_line"}
    assert all("\0" not in each.detail and each.detail.encode() for each in found)
    return [each.detail for each in found]


def test_a_csv_names_paths_labels_and_whatever_else(blobs: Blobs, root: Path) -> None:
    source = kept(blobs, 'path,label,place\na.jpg,rose,"Kew, London"\nd/b.jpg,,\n', root)
    assert listed(source) == [("a.jpg", "rose", {"place": "Kew, London"}), ("d/b.jpg", None, {})]


def test_a_csv_may_carry_metadata_as_json(blobs: Blobs, root: Path) -> None:
    source = kept(blobs, 'path,metadata,n\na.jpg,"{""n"": 1, ""m"": [2]}",three\n', root)
    assert listed(source) == [("a.jpg", None, {"n": "three", "m": [2]})]


def test_json_lines_say_the_same(blobs: Blobs, root: Path) -> None:
    line = '{"path": "a.jpg", "label": "rose", "metadata": {"n": 1}}\n'
    assert listed(kept(blobs, line, root, "jsonl")) == [("a.jpg", "rose", {"n": 1})]


@pytest.mark.parametrize(
    "text", ["\ufeffpath,label\r\na.jpg,rose\r\n\r\n", "Path ; LABEL\na.jpg;rose", "path\tlabel\na.jpg\trose"]
)
def test_spreadsheets_write_csv_in_several_ways(text: str, blobs: Blobs, root: Path) -> None:
    assert listed(kept(blobs, text, root)) == [("a.jpg", "rose", {})]


def test_json_lines_may_begin_with_a_mark_and_end_as_on_windows(blobs: Blobs, root: Path) -> None:
    text = '\ufeff{"path": "a.jpg"}\r\n\r\n{"path": "b.jpg"}'
    assert [name for name, *_ in listed(kept(blobs, text, root, "jsonl"))] == ["a.jpg", "b.jpg"]


def test_a_value_may_span_lines(blobs: Blobs, root: Path) -> None:
    source = kept(blobs, 'path,note\na.jpg,"one\ntwo"\nb.jpg,x,y\n', root)
    assert listed(source) == [("a.jpg", None, {"note": "one\ntwo"})]
    assert wrong(source) == ["Line 4: has 3 values where the header has 2 columns."]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.jpg,b", "has 2 values where the header has 4 columns"),
        (",,,", "give either a path or a url"),
        ("a.jpg,http://x.example/,,", "give either a path or a url"),
        ('"a.jpg,,,', "is not CSV"),
        ('"a"b.jpg,,,', "is not CSV"),
        ("a.jpg,,,[1]", "metadata is not a JSON object"),
        ("a.jpg,,,{", "metadata is not JSON"),
        (f"a.jpg,,{'x' * 201},", "label"),
    ],
)
def test_a_bad_line_of_csv_costs_only_itself(line: str, reason: str, blobs: Blobs, root: Path) -> None:
    source = kept(blobs, f"path,url,label,metadata\n1.jpg,,,\n{line}\n3.jpg,,,\n", root)
    assert [name for name, *_ in listed(source)] == ["1.jpg", "3.jpg"]
    (detail,) = wrong(source)
    assert detail.startswith("Line 3: ")
    assert reason in detail


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
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
        "x" * (LONGEST_LINE + 1),
        b'{"path": "caf\xe9.jpg"}',
    ],
)
def test_a_bad_line_of_json_costs_only_itself(line: str | bytes, blobs: Blobs, root: Path) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    source = kept(blobs, b'{"path": "1.jpg"}\n' + raw + b'\n{"path": "3.jpg"}\n', root, "jsonl")
    assert [name for name, *_ in listed(source)] == ["1.jpg", "3.jpg"]
    assert [detail.split(":")[0] for detail in wrong(source)] == ["Line 2"]
    assert_resumes(source)


def test_a_backslash_before_u0000_is_only_text(blobs: Blobs, root: Path) -> None:
    source = kept(blobs, json.dumps({"path": "a.jpg", "metadata": {"n": "\\u0000"}}), root, "jsonl")
    assert listed(source) == [("a.jpg", None, {"n": "\\u0000"})]


def test_an_open_quote_costs_only_its_line(blobs: Blobs, root: Path) -> None:
    source = kept(blobs, 'path\n"a.jpg\n' + "".join(f"{number}.jpg\n" for number in range(100)), root)
    assert len(listed(source)) == 100
    assert len(wrong(source)) == 1


@pytest.mark.parametrize(
    "text", ["", "\n", "a.jpg\nb.jpg\n", "path,path\n", "path,\n", '"path\n', "x" * (LONGEST_LINE + 9)]
)
def test_a_csv_without_a_header_is_refused_as_a_whole(text: str, blobs: Blobs, root: Path) -> None:
    with pytest.raises(SourceError):
        list(kept(blobs, text, root).entries())


def test_too_many_lines_are_refused(blobs: Blobs, root: Path) -> None:
    with pytest.raises(SourceTooLarge):
        list(kept(blobs, "path\n" + "a.jpg\n" * 5, root, archive_entries=5).entries())


ROW = st.fixed_dictionaries(
    {"path": LABEL, "label": st.none() | LABEL, "metadata": st.dictionaries(TEXT, TEXT, max_size=3)}
)


@given(rows=st.lists(ROW, max_size=6), ends=st.sampled_from(["\n", "\r\n"]), mark=st.booleans())
@tuned(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
def test_json_lines_come_back_as_written(rows: list[dict[str, Any]], ends: str, mark: bool, blobs: Blobs) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + ends for row in rows)
    source = kept(blobs, ("\ufeff" if mark else "") + text, kind="jsonl")
    found = [(json.loads(each.locator), each.label, each.metadata) for each in source.entries()]
    paths = [row["path"].removeprefix("./") for row in rows]
    assert found == [({"path": path}, row["label"], row["metadata"]) for path, row in zip(paths, rows, strict=True)]
    assert_resumes(source)


@given(
    rows=st.lists(st.tuples(LABEL, TEXT, TEXT), max_size=6), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
)
@tuned(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
def test_csv_comes_back_as_written(rows: list[tuple[str, str, str]], quoting: Any, blobs: Blobs) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting)
    writer.writerows([("path", "label", "note"), *rows])
    source = kept(blobs, out.getvalue())
    found = [
        (json.loads(each.locator)["path"], each.label or "", each.metadata.get("note", "")) for each in source.entries()
    ]
    assert found == [(path.removeprefix("./"), label, note) for path, label, note in rows]
    assert_resumes(source)


@given(
    text=st.text(st.sampled_from('",;\n\r\\{}[]:ab\0é\t') | st.characters(), max_size=60) | st.binary(max_size=60),
    kind=st.sampled_from(["csv", "jsonl"]),
)
@tuned(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_whatever_a_manifest_holds_it_can_be_listed_and_resumed(text: str | bytes, kind: str, blobs: Blobs) -> None:
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    source = kept(blobs, (b"path,label,x\n" if kind == "csv" else b"") + raw, kind=kind)
    assert_resumes(source)
    for each in source.entries():
        json.dumps(each.metadata, allow_nan=False).encode()
        assert "\0" not in each.name + (each.label or "")


def test_pictures_are_read_from_below_the_base(blobs: Blobs, root: Path) -> None:
    for name in ("a.jpg", "d 1/b%41.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(image_bytes(len(name)))
    source = kept(blobs, f"path\n./a.jpg\n{root}/d 1/b%41.jpg\n", root)
    assert contents(source) == {"a.jpg": image_bytes(5), "d 1/b%41.jpg": image_bytes(12)}


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "a//b.jpg"])
def test_paths_that_lead_out_are_refused(path: str, blobs: Blobs, root: Path) -> None:
    assert rejected(kept(blobs, f"path\n{path}\n", root)) == {path: "unsafe_path"}


def test_a_link_below_the_base_is_refused_when_read(blobs: Blobs, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(UnsafePath):
        contents(kept(blobs, "path\na.jpg\n", root))


def test_a_picture_that_is_not_there_is_unreadable(blobs: Blobs, root: Path) -> None:
    with pytest.raises(Unreadable):
        contents(kept(blobs, "path\na.jpg\n", root))


def test_without_a_base_paths_are_refused(blobs: Blobs) -> None:
    assert rejected(kept(blobs, "path\na.jpg\n")) == {"a.jpg": "unsafe_path"}


def test_a_base_outside_the_roots_is_refused(blobs: Blobs, root: Path) -> None:
    with pytest.raises(SourceError):
        kept(blobs, "path\na.jpg\n", root, import_roots=[])


def test_urls_are_off_by_default(blobs: Blobs) -> None:
    source = kept(blobs, "url\nhttp://pictures.example/a.jpg\n")
    assert rejected(source) == {"http://pictures.example/a.jpg": "address_refused"}
    with pytest.raises(AddressRefused):
        source.read('{"url": "http://pictures.example/a.jpg"}')


def test_a_url_is_shown_without_its_secrets_and_read_with_them(blobs: Blobs) -> None:
    text = "https://pictures.example/d/a.jpg?signature=secret#x"
    (entry,) = kept(blobs, f"url\n{text}\n", import_urls=True).entries()
    assert (entry.name, entry.rejected) == ("https://pictures.example/d/a.jpg", None)
    assert json.loads(entry.locator) == {"url": text}


@pytest.mark.parametrize("url", ["ftp://x.example/a.jpg", "http://user:secret@x.example/a.jpg", "a.jpg"])
def test_what_is_no_plain_url_is_a_bad_line(url: str, blobs: Blobs) -> None:
    source = kept(blobs, f"url\n{url}\n", import_urls=True)
    assert wrong(source)[0].startswith("Line 2: ")
    assert "secret" not in str(list(rejected(source)))


def test_a_url_of_this_machine_is_refused_when_read(blobs: Blobs) -> None:
    source = kept(blobs, "url\nhttp://127.0.0.1/a.jpg\n", import_urls=True)
    with pytest.raises(AddressRefused):
        contents(source)


def test_a_refused_entry_read_all_the_same_is_refused_again(blobs: Blobs) -> None:
    for each in kept(blobs, "path\n../a.jpg\nx,y\n").entries():
        assert isinstance(each, Entry)
        with pytest.raises(ImageError):
            kept(blobs, "path\n").read(each.locator)


def test_a_manifest_that_is_gone_is_said_to_be_gone(blobs: Blobs) -> None:
    with pytest.raises(SourceError):
        open_source(ManifestSource(type="manifest", blob_key="gone", format="csv"), blobs, Settings())
