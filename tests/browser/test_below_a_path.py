"""The page below a path of another site, on another port: it needs no setting for that."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import Watch
from tests.browser.gallery import specimen
from tests.browser.viewing import PATIENCE, VIEWS, file, kind
from tests.reverse_proxy import reverse_proxy
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def page(chromium: Browser, site: Stack) -> Iterator[Page]:
    # A proxy that loses the port of Host, as many do: the browser says itself that the page is of the same site.
    with reverse_proxy(site.port, prefix="/some/umbel", tells={"Host": "{name}"}) as url:
        context = chromium.new_context(base_url=f"{url}/", viewport={"width": 1280, "height": 800})
        context.set_default_timeout(15_000)
        page = context.new_page()
        watched = Watch(page, url)  # whatever it asks for lies below the path
        yield page
        context.close()
    assert watched.trouble == []


def test_a_picture_is_added_and_found(page: Page) -> None:
    page.goto("")
    page.get_by_role("link", name="Add pictures").click()
    expect(page.get_by_role("heading", name="Add pictures")).to_be_focused(timeout=PATIENCE)
    page.get_by_label("Label", exact=True).fill("below a path")
    page.locator("input[type=file]").first.set_input_files([file("mine.jpg", specimen(2))])
    arrived = page.locator(".arriving .tile")
    expect(arrived).to_have_attribute("data-state", "done", timeout=PATIENCE)
    arrived.get_by_role("link").click()
    expect(page.get_by_role("heading", name="below a path")).to_be_focused()
    page.get_by_role("link", name="Search", exact=True).last.click()
    matches = page.get_by_role("list", name="Matches").get_by_role("listitem")
    expect(matches.first).to_contain_text(kind(2))
    expect(page.get_by_text(re.compile(r"\d+ matches, every picture compared"))).to_be_visible()
    broken = "[...document.images].filter((image) => image.complete && !image.naturalWidth).map((image) => image.src)"
    assert page.evaluate(broken) == []


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_asks_below_the_path(page: Page, view: str) -> None:
    page.goto(f"#/{view}")
    expect(page.get_by_role("main").get_by_role("heading").first).to_be_visible()
    page.wait_for_load_state("networkidle")


def test_the_reference_and_the_way_in_are_found(page: Page) -> None:
    page.goto("docs")
    expect(page.get_by_role("heading", name=re.compile("Umbel")).first).to_be_visible(timeout=PATIENCE)
    page.goto("signin")
    expect(page.locator("input[name=key]")).to_be_focused()
