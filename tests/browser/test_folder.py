"""A real folder chosen on the page: what it takes of it, what it says of the rest, and names that are no HTML."""

import unicodedata
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import Watch
from tests.field import formats, names
from tests.field.catalog import files
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PATIENCE = 90_000  # ms
MANY = 4  # of a kind; the others go in by other ways


def chosen(page: Page, folder: Path, collection: str) -> None:
    page.goto("/#/add")
    page.get_by_label("Into collection").fill(collection)
    page.locator("input[type=file]").nth(1).set_input_files(folder)
    expect(page.locator(".progress")).to_contain_text(" finished", timeout=PATIENCE)
    expect(page.locator(".arriving .tile:not([data-state=done]):not([data-state=failed])")).to_have_count(
        0, timeout=PATIENCE
    )


def in_gallery(site: Stack, collection: str) -> dict[str, str]:
    """Media types by name, without the folder that was chosen."""
    query = {"collection": collection, "limit": 200}
    items = httpx.get(f"{site.url}/v1/images", params=query, trust_env=False).json()["items"]
    return {item["name"].partition("/")[2]: item["media_type"] for item in items}


def test_a_folder_is_taken_by_its_bytes_and_what_is_not_taken_says_why(
    watch: tuple[Page, Watch], site: Stack, tmp_path: Path
) -> None:
    page, watched = watch
    watched.rejected = {415}
    folder = tmp_path / "pictures"
    given = [
        each for kind in ("formats", "false suffixes", "damaged EXIF", "damaged PNG") for each in files(kind)[::MANY]
    ]
    refused = formats.unsupported()[::MANY]
    for each in (*given, *refused):
        names.write(folder / each.name, each.data)
    names.share(folder / "share")
    chosen(page, folder, "folder")
    wanted = {each.name: each.media_type for each in given}
    assert in_gallery(site, "folder") == wanted | {f"share/{name}": "image/jpeg" for name in names.MEANT}
    for each in refused:
        expect(page.locator(".arriving .tile", has_text=each.name).locator(".reason")).to_contain_text(each.says)


def test_names_arrive_as_they_are_and_are_not_obeyed(page: Page, site: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "names"
    given = [name for name in (*names.WHOLE, *names.DECOMPOSED) if "\r" not in name]  # a line break to every form
    names.named(folder, *given, seed=4600)
    chosen(page, folder, "names")
    assert set(in_gallery(site, "names")) == {unicodedata.normalize("NFC", name) for name in given}
    page.goto("/#/gallery?collection=names")
    expect(page.locator(".grid .tile").first).to_be_visible()
    assert page.locator(".grid img[src=x]").count() == 0
