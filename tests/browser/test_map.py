"""The map, and duplicates."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewing import LABELS, PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_the_map_is_computed_and_pictures_are_taken_out_of_it(page: Page) -> None:
    page.goto("/#/map?collection=garden")
    page.get_by_role("button", name="Compute the map").click()
    canvas = page.get_by_role("application", name="Map of the gallery")
    expect(canvas).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name=re.compile(LABELS[0])).first).to_be_visible()
    chosen = page.get_by_role("region", name="Selected pictures")
    canvas.focus()
    page.keyboard.press(" ")
    expect(chosen).to_contain_text("1 picture selected")
    page.get_by_role("button", name="Select what is in view").click()
    everything = int(re.findall(r"\d+", chosen.get_by_role("heading").inner_text())[0])
    page.get_by_role("button", name="Lasso").click()
    box = canvas.bounding_box()
    assert box is not None
    across, down = box["x"] + box["width"] / 2, box["y"] + box["height"]
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for x, y in ((across, box["y"] + 20), (across, down - 20), (box["x"] + 20, down - 20)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    half = int(re.findall(r"\d+", chosen.get_by_role("heading").inner_text())[0])
    assert 0 < half < everything
    chosen.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="More like")).to_be_visible()


def test_keeping_one_of_two_copies_deletes_the_other(page: Page) -> None:
    page.goto("/#/duplicates?collection=garden")
    groups = page.locator(".group")
    expect(groups.first).to_be_visible()
    before = groups.count()
    groups.first.get_by_role("button", name="Keep the chosen").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Delete")).click()
    expect(groups).to_have_count(before - 1)
