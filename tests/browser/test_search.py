"""Search, and identify."""

import io
import json
import re
from urllib.parse import parse_qs

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.chromium import Watch
from tests.browser.gallery import specimen
from tests.browser.viewing import LABELS, file, kind

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

MARKED = re.compile("[?&]box=")


def boxed(page: Page) -> tuple[float, ...]:
    """The part of the picture that the address names."""
    [box] = parse_qs(page.url.partition("?")[2])["box"]
    return tuple(map(float, box.split(",")))


def test_a_click_in_the_gallery_searches_and_the_slider_narrows(page: Page) -> None:
    page.goto(f"/#/gallery?collection=garden&label={LABELS[2]}")
    page.locator(".grid .picture").first.click()
    expect(page.get_by_role("heading", name="Similar pictures")).to_be_visible()
    page.get_by_role("link", name="Search", exact=True).last.click()
    matches = page.get_by_role("list", name="Matches").locator("li:visible")
    expect(matches.first).to_contain_text(LABELS[2])
    all_of_them = matches.count()
    slider = page.get_by_role("slider", name="Max distance")
    slider.fill("0.3")
    expect(page.get_by_text("within the distance")).to_be_visible()
    assert 0 < matches.count() < all_of_them


def test_matches_come_page_by_page_as_one_scrolls_or_by_a_button(page: Page) -> None:
    def eight(route: Route) -> None:
        route.continue_(post_data=json.dumps({**route.request.post_data_json, "k": 8}))

    page.route("**/v1/search", eight)
    page.goto(f"/#/gallery?collection=garden&label={LABELS[2]}")
    page.locator(".grid .picture").first.click()
    expect(page.get_by_role("heading", name="Similar pictures")).to_be_visible()
    page.get_by_role("link", name="Search", exact=True).last.click()
    matches = page.get_by_role("list", name="Matches").get_by_role("listitem")
    more = page.get_by_role("button", name="Show more")
    expect(matches.nth(8)).to_be_attached()  # as the end is near
    while more.is_visible():
        page.mouse.wheel(0, 2_000)
    links = [match.get_by_role("link").get_attribute("href") for match in matches.all()]
    assert len(links) == len(set(links)) > 30
    page.add_init_script("IntersectionObserver = class { observe() {} unobserve() {} disconnect() {} }")
    page.reload()
    expect(matches).to_have_count(8)
    more.press("Enter")
    expect(matches).to_have_count(16)
    expect(matches.nth(8).get_by_role("link")).to_be_focused()
    assert [match.get_by_role("link").get_attribute("href") for match in matches.all()] == links[:16]


def test_the_tile_that_matched_is_framed(page: Page) -> None:
    def with_a_tile(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        found["matches"][0]["box"] = [0.4, 0.4, 0.6, 0.6]
        route.fulfill(response=answer, json=found)

    page.route("**/v1/search", with_a_tile)
    page.goto(f"/#/gallery?collection=garden&label={LABELS[2]}")
    page.locator(".grid .picture").first.click()
    expect(page.get_by_role("heading", name="Similar pictures")).to_be_visible()
    page.get_by_role("link", name="Search", exact=True).last.click()
    match = page.get_by_role("list", name="Matches").get_by_role("listitem").first
    expect(match.locator(".frame")).to_be_visible()
    picture, frame = match.locator("img").bounding_box(), match.locator(".frame").bounding_box()
    assert picture is not None
    assert frame is not None
    shares = [(frame["x"] - picture["x"]) / picture["width"], (frame["y"] - picture["y"]) / picture["height"]]
    assert [*shares, frame["width"] / picture["width"]] == pytest.approx([0.4, 0.4, 0.6], abs=0.01)
    expect(page.locator(".frame")).to_have_count(1)


def test_a_part_of_the_picture_is_marked_by_dragging_or_by_keys(page: Page) -> None:
    """Two flowers beside each other: what is marked decides which of them is found."""
    both, out = Image.new("RGB", (512, 256)), io.BytesIO()
    for at, species in enumerate((0, 2)):
        both.paste(Image.open(io.BytesIO(specimen(species))).resize((256, 256)), (256 * at, 0))
    both.save(out, "PNG")
    left, right = kind(0), kind(2)
    page.goto("/#/search")
    page.locator("input[type=file]").first.set_input_files([file("both.png", out.getvalue())])
    matches = page.get_by_role("list", name="Matches").get_by_role("listitem")
    whole = page.get_by_role("button", name="Whole picture")
    shown = page.get_by_role("img", name="the picture that is searched by")
    expect(matches.first).to_be_visible()
    expect(whole).to_be_hidden()
    place = shown.bounding_box()
    assert place is not None
    assert place["width"] == pytest.approx(2 * place["height"], abs=1)
    page.mouse.move(place["x"] + place["width"] - 1, place["y"] + 1)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] - 1, steps=4)
    page.mouse.up()
    expect(page).to_have_url(MARKED)
    assert boxed(page) == pytest.approx((0.5, 0, 0.5, 1), abs=0.03)
    expect(matches.first).to_contain_text(right)
    whole.click()
    expect(page).not_to_have_url(MARKED)
    expect(page.locator(".mark")).to_be_hidden()
    page.get_by_text("Search by a part").click()
    page.get_by_label("Width").fill("50")
    page.keyboard.press("Enter")
    expect(page).to_have_url(MARKED)
    assert boxed(page) == (0, 0, 0.5, 1)
    expect(matches.first).to_contain_text(left)
    expect(page.get_by_label("Width")).to_be_focused()
    expect(page.locator(".mark")).to_be_visible()


def test_a_part_of_a_stored_picture_is_in_the_address(watch: tuple[Page, Watch]) -> None:
    page, watched = watch
    watched.rejected = {422}
    page.goto(f"/#/gallery?collection=garden&label={LABELS[2]}")
    href = page.locator(".grid .picture").first.get_attribute("href")
    assert href
    page.goto("/" + href.replace("#/image/", "#/search?image=") + "&box=0.25,0.25,0.5,0.5")
    expect(page.get_by_label("Left")).to_have_value("25")
    expect(page.get_by_role("list", name="Matches").get_by_role("listitem").first).to_be_visible()
    page.get_by_label("Width").fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The box covers")).to_be_visible()
    assert "box=0.25%2C0.25%2C0.01%2C0.5" in page.url


def test_more_like_these_less_like_those(page: Page) -> None:
    page.goto("/#/gallery?collection=garden")
    for label in LABELS[:2]:
        page.get_by_role("button", name=f"More like this: {label}").first.click()
    tray = page.get_by_role("region", name="Search basket")
    tray.get_by_role("button", name=f"More like this {LABELS[1]}").click()
    tray.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="Less like")).to_be_visible()
    matches = page.get_by_role("list", name="Matches").get_by_role("listitem")
    expect(matches.first).to_contain_text(LABELS[0])


def test_identify_names_what_it_knows_and_shows_its_evidence(page: Page) -> None:
    page.goto("/#/identify")
    page.locator("input[type=file]").first.set_input_files([file("what.jpg", specimen(3))])
    verdict = page.get_by_role("region", name="Answer")
    expect(verdict.locator(".answer")).to_have_text(re.compile(f"{LABELS[3]}|Unknown"))
    expect(verdict.get_by_role("listitem").first).to_contain_text(LABELS[3])
    assert verdict.locator(".thumb").count() >= 3
