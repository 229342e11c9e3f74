"""The page as files: its texts, the same in each language and all used, and what is fetched at once."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from api.error_codes import error_codes

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "api" / "web" / "static"
ENTRY = re.compile(r'^  (\w+): (".*"|\{ one: ".*", other: ".*" \}),$')
PLURALS = {"one", "other"}  # of English and of German

Text = dict[str, str]


def texts(language: str) -> dict[str, Text]:
    """{key: {plural: text}}; what is the same for any number has the one plural "any"."""
    found: dict[str, Text] = {}
    head, *lines, end = (STATIC / "texts" / f"{language}.js").read_text().split("export default ")[1].splitlines()
    assert (head, end) == ("{", "};")
    for line in lines:
        entry = ENTRY.fullmatch(line)
        assert entry, line
        key, written = entry.groups()
        assert key not in found, key
        plurals = json.loads(re.sub(r"([{,]) (\w+):", r'\1 "\2":', written)) if written[0] == "{" else {}
        found[key] = plurals or {"any": json.loads(written)}
    return found


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


LANGUAGES = [path.stem for path in (STATIC / "texts").glob("*.js")]
ENGLISH = texts("en")


def test_the_page_knows_each_language_that_there_are_texts_of() -> None:
    offered = re.search(r"LANGUAGES = \{(.*)\}", (STATIC / "text.js").read_text())
    assert offered
    assert set(re.findall(r"(\w+): \"", offered[1])) == set(LANGUAGES) >= {"en", "de"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_every_text_with_the_same_places(language: str) -> None:
    own = texts(language)
    assert own.keys() == ENGLISH.keys()
    assert [key for key, text in own.items() if not all(text.values())] == []
    for key, text in own.items():
        assert set(text) == ({"any"} if "any" in text else PLURALS), key
        assert {frozenset(places(each)) for each in text.values()} == {
            frozenset(places(next(iter(ENGLISH[key].values()))))
        }, key


@pytest.mark.parametrize("language", set(LANGUAGES) - {"en"})
def test_each_language_has_the_meaning_of_every_error_code(language: str) -> None:
    lines = (STATIC / "texts" / "problems" / f"{language}.js").read_text().splitlines()
    assert [found[1] for line in lines if (found := re.fullmatch(r'  (\w+): ".+",', line))] == sorted(
        code for _, code, _ in error_codes()
    )


def test_every_text_is_used_and_every_text_that_is_used_is_there() -> None:
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js"))
    page = (STATIC / "index.html").read_text()
    called = set(re.findall(r'\bt\("(\w+)"', scripts)) | set(re.findall(r'data-(?:text|label)="(\w+)"', page))
    assert called - ENGLISH.keys() == set()
    # Some are chosen by what is the case: t(one ? "this" : "that").
    assert {key for key in ENGLISH.keys() - called if f'"{key}"' not in scripts} == set()


def test_a_package_has_every_file_of_the_page() -> None:
    """Containers install one, and would serve a page without texts."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["api"]
    packed = {path for pattern in patterns for path in (ROOT / "api").glob(pattern) if path.is_file()}
    assert {path for path in STATIC.parent.rglob("*.*") if path.name != "tsconfig.json"} - packed == set()


def test_what_the_first_view_needs_is_fetched_at_once() -> None:
    """Else the browser finds out about each script by the one that imports it, one request after the other."""
    page = (STATIC / "index.html").read_text()
    needed: set[str] = set()
    found = ["app.js", "gallery.js"]
    while found:
        name = found.pop()
        if name not in needed:
            needed.add(name)
            found += re.findall(r'^import .*"\./(.*)";', (STATIC / name).read_text(), re.MULTILINE)
    preloaded = re.findall(r'rel="modulepreload" href="static/(.*?)"', page)
    assert sorted([*preloaded, *re.findall(r'<script type="module" src="static/(.*?)"', page)]) == sorted(needed)
