"""What holds for all views: keyboard, accessibility, phones, size."""

import re

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.chromium import Watch
from tests.browser.viewing import PATIENCE, TABS, VIEWS, focused
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.mark.parametrize("awaited", ["**/v1/session", "**/v1/images?*"])
def test_a_link_followed_before_the_first_view_is_there_takes_the_focus_along(page: Page, awaited: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(awaited, hold)
    with page.expect_request(awaited):
        page.goto("/")
    page.get_by_role("link", name="Jobs").click()
    if awaited.endswith("session"):  # the other is given up by the page itself
        held[0].continue_()
    expect(page.get_by_role("heading", name="Jobs")).to_be_focused()


def test_everything_is_reached_by_keyboard_and_the_focus_is_never_lost(page: Page) -> None:
    page.goto("/#/gallery?collection=garden")
    expect(page.locator(".grid .tile").first).to_be_visible()
    press = page.keyboard.press
    press("Tab")
    assert focused(page) == "A Skip to the content"
    press("Enter")
    assert focused(page).startswith("MAIN")
    for _ in range(6):  # collection, label, filters, trash, add, the first picture
        press("Tab")
    assert page.evaluate("document.activeElement.className") == "picture"
    press("Tab")
    press("Enter")
    expect(page.get_by_role("region", name="Search basket")).to_be_visible()
    press("Shift+Tab")
    press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.get_by_role("button", name="Delete").focus()
    press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert focused(page) == "BUTTON Delete"
    page.go_back()
    expect(page.get_by_role("heading", level=1, name="Gallery")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_fault_that_axe_finds(chromium: Browser, site: Stack, scheme: str) -> None:
    context = chromium.new_context(base_url=site.url, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    watched = Watch(page, site.url)
    page.goto("/#/gallery")
    image = page.locator(".grid .picture").first.get_attribute("href")
    assert image
    job = page.evaluate("fetch('/v1/jobs?status=failed').then((answer) => answer.json())")["items"][0]["id"]
    similar = image.replace("#/image/", "#/search?image=")
    verdict = image.replace("#/image/", "#/identify?image=")
    faults = {}
    tabs = [f"#/admin?tab={tab}" for tab in TABS]
    for view in (*[f"#/{name}" for name in VIEWS], *tabs, image, similar, verdict, f"#/job/{job}", "signin"):
        page.goto(f"/{view}")
        page.wait_for_load_state("networkidle")
        if violations := Axe().run(page).response["violations"]:
            faults[view] = [(each["id"], [node["html"] for node in each["nodes"][:3]]) for each in violations]
    context.close()
    assert faults == {}
    assert watched.trouble == []


def test_on_a_phone_nothing_is_wider_than_the_screen_nor_too_small_to_touch(chromium: Browser, site: Stack) -> None:
    context = chromium.new_context(base_url=site.url, viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    for view in (*VIEWS, *(f"admin?tab={tab}" for tab in TABS)):
        page.goto(f"/#/{view}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
        small = page.evaluate(
            """[...document.querySelectorAll('button, .button, nav a, select, input:not([type=file]), textarea')]
            .filter((one) => one.checkVisibility() && !one.closest('label.check'))
            .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
            .filter(([, box]) => Math.min(box.width, box.height) < 24).map(([html]) => html)"""
        )
        assert small == [], view
    context.close()


def test_the_page_speaks_the_language_of_its_reader_or_the_chosen_one(chromium: Browser, site: Stack) -> None:
    context = chromium.new_context(base_url=site.url, locale="de-AT")
    page = context.new_page()
    watched = Watch(page, site.url)
    page.goto("/#/jobs")
    expect(page.get_by_role("heading", name="Aufträge")).to_be_visible()
    expect(page.locator(".row", has_text=re.compile(r"\d Bild(er)?")).first).to_be_visible()
    expect(page.get_by_role("link", name="Galerie")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "de"
    page.goto("/#/admin?tab=sources")
    page.get_by_label("Ordner oder Bucket").fill("/nowhere")
    watched.rejected = {422}
    page.get_by_role("button", name="Folgen").click()
    expect(page.locator("#said")).to_contain_text("Die Quelle lässt sich nicht öffnen")
    expect(page.locator("#said")).to_contain_text("(The folder is not below an import root")
    empty = site.home / "empty"
    empty.mkdir()
    source = {"type": "folder", "path": str(empty)}
    job = httpx.post(f"{site.url}/v1/imports", json={"source": source}, timeout=30).json()
    page.goto(f"/#/job/{job['job_id']}")
    expect(page.locator("p.lead")).to_contain_text("Die Quelle lässt sich nicht öffnen", timeout=PATIENCE)
    expect(page.locator("p.lead")).to_contain_text("(There is no picture in it.)")
    page.goto("/signin")
    page.get_by_label("Schlüssel").fill("umbel_wrong")
    watched.rejected |= {401}
    page.get_by_role("button", name="Anmelden").click()
    expect(page.get_by_role("alert")).to_have_text("Der Schlüssel gilt nicht.")
    page.goto("/#/jobs")
    page.get_by_label("Sprache").select_option("English")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    page.goto("/signin")  # it is kept
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.goto("/#/jobs")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.locator(".row", has_text=re.compile(r"\d pictures?")).first).to_be_visible()
    context.close()
    assert watched.trouble == []


def test_the_first_view_is_small_and_stays_where_it_is(page: Page) -> None:
    page.goto("/#/gallery")
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(
        """performance.getEntriesByType('resource').filter((one) => /static/.test(one.name))
        .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
    )
    assert sizes < 150_000
    shift = page.evaluate(
        """new Promise((told) => { let sum = 0; const watch = new PerformanceObserver((list) => {
        for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value; });
        watch.observe({ type: 'layout-shift', buffered: true }); setTimeout(() => told(sum), 100); })"""
    )
    assert shift < 0.1


def test_a_slow_answer_holds_up_nothing_else_and_a_server_that_comes_back_is_noticed(
    chromium: Browser, site: Stack
) -> None:
    context = chromium.new_context(base_url=site.url)  # not watched: what gets no answer is told in the console
    page = context.new_page()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/images?*", hold)
    with page.expect_request("**/v1/images?*"):
        page.goto("/")
    expect(page.get_by_role("heading", name="Gallery")).to_be_visible()
    expect(page.get_by_label("Collection")).to_be_enabled()
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator(".row").first).to_be_visible()
    page.unroute("**/v1/images?*")
    away = re.compile("/(v1/|readyz)")
    page.route(away, lambda route: route.abort())
    page.get_by_role("link", name="Gallery").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_have_text("No answer from the server.")
    page.unroute(away)
    expect(page.locator(".grid .tile").first).to_be_visible()  # without anyone's doing
    expect(page.locator("#state")).to_have_text("Ready")
    context.close()
