"""What the page sends of a dropped folder: its own script, run by Node, on the rules that the server gives it."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from umbel_files.walking import Outcome, walk

from api.page import STATIC, files
from tests.images import image_bytes
from tests.unit.umbel_files.test_skipping import KEPT_BY_PROGRAMS, OF_PEOPLE

NODE = shutil.which("node")
SCRIPT = """
import { readFileSync } from "node:fs";
globalThis.navigator = { languages: ["en"] };  // which Node of Debian does not have
const { sorted } = await import("./static/files.js");
const { rules, entries, includeHidden } = JSON.parse(readFileSync(0));
const files = entries.map(({ path, data }) => ({
  path,
  file: data === null ? null : new File([Buffer.from(data, "base64")], path.split("/").at(-1)),
}));
const { pictures, archives, others, unread } = await sorted(files, rules, { includeHidden });
console.log(JSON.stringify([pictures.map(({ path }) => path), archives.map(({ name }) => name), others, unread]));
"""

pytestmark = pytest.mark.skipif(not NODE, reason="Node is not installed")


def page_sorts(
    folder: Path, entries: dict[str, bytes | None], *, include_hidden: bool = False
) -> tuple[list[str], list[str], int, int]:
    shutil.copytree(STATIC, folder / "static", dirs_exist_ok=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.mjs").write_text(SCRIPT)
    given = [
        {"path": path, "data": None if data is None else base64.b64encode(data).decode()}
        for path, data in entries.items()
    ]
    asked = json.dumps({"rules": files(), "entries": given, "includeHidden": include_hidden})
    done = subprocess.run([str(NODE), "run.mjs"], cwd=folder, input=asked, capture_output=True, text=True, check=True)
    pictures, archives, others, unread = json.loads(done.stdout)
    return pictures, archives, others, unread


def test_the_page_skips_what_every_way_in_skips(tmp_path: Path) -> None:
    image = image_bytes(1)
    paths = [f"top/{path}" for path in KEPT_BY_PROGRAMS + OF_PEOPLE]
    pictures, _, others, _ = page_sorts(tmp_path, dict.fromkeys(paths, image))
    assert (pictures, others) == ([f"top/{path}" for path in OF_PEOPLE], len(KEPT_BY_PROGRAMS))


def test_the_page_finds_in_a_folder_what_the_command_line_finds(tmp_path: Path) -> None:
    image, text = image_bytes(1), b"no picture at all, but a text of some length"
    names = ("a.jpg", "b.HEIC", "c.jpg_large", "d", "e.MP", "f.json", "g.txt", ".h.jpg", "@eaDir/i.jpg", "j.dat")
    entries = {name: text if name in ("e.MP", "f.json", "d") else image for name in names} | {"k.jpg": b"", "l": b"BM"}
    top = tmp_path / "top"
    for name, data in entries.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    for include_hidden in (False, True):
        here = [f"top/{one.name}" for one in walk(top, include_hidden=include_hidden) if one.outcome is Outcome.TAKEN]
        dropped: dict[str, bytes | None] = {f"top/{name}": data for name, data in entries.items()}
        assert sorted(page_sorts(tmp_path, dropped, include_hidden=include_hidden)[0]) == sorted(here)


def test_what_was_given_by_itself_is_sent_and_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    entries = {"notes.txt": b"x", ".hidden.jpg": b"x", "a.zip": b"PK", "top/gone.jpg": None, "top/b.zip": b"PK\3\4"}
    assert page_sorts(tmp_path, entries) == (["notes.txt", ".hidden.jpg"], ["a.zip"], 1, 1)
