"""The gallery: filtered, several pictures picked, one looked at."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.gallery import specimen
from tests.browser.viewing import LABELS, PATIENCE
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_pictures_are_filtered_by_what_they_have_in_common_and_labelled_together(page: Page, site: Stack) -> None:
    page.goto("/#/gallery?collection=garden")
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("region", name="Label").get_by_role("button", name=LABELS[1]).click()
    chip = page.get_by_role("button", name=f"Remove the filter Label: {LABELS[1]}")
    expect(chip).to_be_visible()
    tiles = page.locator(".grid .tile")
    expect(tiles.first).to_contain_text(LABELS[1])
    expect(page.get_by_role("button", name=re.compile(rf"^{LABELS[1]} \d+"))).to_be_focused()
    page.reload()  # the address has it
    expect(chip).to_be_visible()
    expect(page.locator(".lead")).to_contain_text("picture")
    whole = int(re.findall(r"\d+", page.locator(".lead").inner_text())[0])
    tiles.nth(1).get_by_role("link").click(modifiers=["Control"])
    tiles.nth(2).get_by_role("link").click(modifiers=["Shift"])
    tiles.nth(3).get_by_role("link").focus()
    page.keyboard.press(" ")
    picked = page.get_by_role("region", name="Selected pictures")
    expect(picked).to_contain_text("3 pictures selected")
    picked.get_by_label("Label for the selected pictures").fill("bulk")
    picked.get_by_role("button", name="Label them").click()
    expect(page.locator("#said")).to_have_text("3 pictures labelled bulk.")
    expect(picked).to_be_hidden()
    expect(page.locator(".lead")).to_contain_text(f"{whole - 3} picture", timeout=PATIENCE)  # those are no longer in it
    page.goto("/#/gallery?label=bulk")
    expect(tiles).to_have_count(3)
    client = site.client()
    for image in list(client.images.list(label="bulk")):  # the other tests find what they expect
        client.images.update(image.image_id, label=LABELS[1])


def test_a_picture_is_looked_at_closely_and_the_next_of_its_list_is_a_key_away(page: Page) -> None:
    page.goto("/#/gallery?collection=garden")
    tiles = page.locator(".grid .picture")
    second, third = (tiles.nth(at).get_attribute("href") for at in (1, 2))
    tiles.nth(1).click()
    stage = page.locator(".stage[data-state=ready]")
    expect(stage).to_be_visible()
    place = "document.querySelector('.stage img').getBoundingClientRect().width"
    fitted = page.evaluate(place)
    page.keyboard.press("+")
    assert page.evaluate(place) == pytest.approx(1.5 * fitted)
    stage.hover()
    page.mouse.wheel(0, -400)
    assert page.evaluate(place) > 2 * fitted
    page.keyboard.press("0")
    assert page.evaluate(place) == fitted
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"**/{third}")
    expect(page.get_by_role("button", name="Next picture")).to_be_focused()
    page.get_by_role("button", name="Previous picture").click()
    page.wait_for_url(f"**/{second}")
    expect(page.get_by_text("Embedded by")).to_be_visible()
    page.get_by_role("link", name="its job").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=1, name="Gallery")).to_be_focused()


def test_several_are_deleted_at_once_seen_elsewhere_and_brought_back(page: Page, site: Stack) -> None:
    client = site.client()
    uploads = [client.images.upload(specimen(3, 700 + number), collection="binned") for number in range(4)]
    images = [upload.wait(60) for upload in uploads]
    other = page.context.new_page()
    other.goto("/#/gallery?collection=binned")
    page.goto("/#/gallery?collection=binned")
    tiles, theirs = page.locator(".grid .tile"), other.locator(".grid .tile")
    expect(tiles).to_have_count(4)
    expect(theirs).to_have_count(4)
    for number in (0, 1):
        tiles.nth(number).locator(".pick").check()
    picked = page.get_by_role("region", name="Selected pictures")
    picked.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete 2").click()
    expect(page.locator("#said")).to_contain_text("2 pictures deleted.")
    expect(tiles).to_have_count(2)
    expect(theirs).to_have_count(2, timeout=PATIENCE)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#said")).to_have_text("2 pictures restored.")
    expect(tiles).to_have_count(4)
    expect(theirs).to_have_count(4, timeout=PATIENCE)
    other.close()
    client.images.delete_many(ids=[image.image_id for image in images[:3]]).wait(60)
    page.get_by_role("link", name="Trash").click()
    rows = page.get_by_role("row")
    expect(rows).to_have_count(4)
    rows.nth(1).get_by_role("checkbox").check()
    page.get_by_role("button", name="Restore 1 picture").click()
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Remove all for ever").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("heading", name="Nothing is in the trash")).to_be_visible()
    page.get_by_role("link", name="To the gallery").click()
    page.get_by_label("Collection").select_option("binned")
    expect(tiles).to_have_count(2)
