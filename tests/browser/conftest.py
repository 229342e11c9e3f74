"""One real stack with a small garden, and one Chromium, for all browser tests."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import ABSENT, Watch, find_chromium, running
from tests.browser.gallery import plant, spoil
from tests.stacks import Stack


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip(ABSENT)
    with running(path) as browser:
        yield browser


@pytest.fixture(scope="session")
def site(chromium: Browser) -> Iterator[Stack]:
    """chromium is asked for first: without one, no stack is started."""
    made = Stack()
    made.environment["UMBEL_IMPORT_ROOTS"] = str(made.home)
    try:
        made.umbel("up", "--detach")
        plant(made)
        spoil(made)
        yield made
    finally:
        made.umbel("down", check=False)
        shutil.rmtree(made.home, ignore_errors=True)


@pytest.fixture
def watch(chromium: Browser, site: Stack) -> Iterator[tuple[Page, Watch]]:
    """A page in a context of its own; in the end it must have done nothing that it must not."""
    context = chromium.new_context(base_url=site.url, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    page = context.new_page()
    watched = Watch(page, site.url)
    yield page, watched
    context.close()
    assert watched.trouble == []


@pytest.fixture
def page(watch: tuple[Page, Watch]) -> Page:
    return watch[0]
