"""Adding pictures: each on its way in, and what becomes of it."""

import io
import json
import re
import zipfile

import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from tests.browser.chromium import Watch
from tests.browser.gallery import specimen
from tests.browser.viewing import LABELS, PATIENCE, file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_a_picture_goes_from_upload_to_search_results(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Add pictures").click()
    expect(page.get_by_role("heading", name="Add pictures")).to_be_focused()
    page.get_by_label("Label", exact=True).fill("found outside")
    page.locator("input[type=file]").first.set_input_files([file("mine.jpg", specimen(0))])
    arrived = page.locator(".arriving .tile")
    expect(arrived).to_have_attribute("data-state", "done", timeout=PATIENCE)
    expect(page.get_by_text("1 of 1 picture finished")).to_be_visible()
    arrived.get_by_role("link").click()
    expect(page.get_by_role("heading", name="found outside")).to_be_focused()
    page.get_by_role("link", name="Search", exact=True).last.click()
    matches = page.get_by_role("list", name="Matches").get_by_role("listitem")
    expect(matches.first).to_contain_text(LABELS[0])
    expect(page.get_by_text(re.compile(r"\d+ matches, every picture compared"))).to_be_visible()


def test_what_is_no_picture_says_why_at_its_tile_and_in_its_job(watch: tuple[Page, Watch]) -> None:
    page, watched = watch
    watched.rejected = {415}
    page.goto("/#/add")
    broken = file("broken.jpg", b"\xff\xd8 this is no picture")
    page.locator("input[type=file]").first.set_input_files([broken, file("fine.jpg", specimen(1))])
    tile = page.locator(".arriving .tile", has_text="broken.jpg")
    expect(tile).to_have_attribute("data-state", "failed")
    reason = tile.locator(".reason").inner_text()
    assert reason
    expect(page.locator(".arriving .tile", has_text="fine.jpg")).to_have_attribute(
        "data-state", "done", timeout=PATIENCE
    )
    page.goto("/#/jobs")
    page.locator(".row", has_text="1 failed").first.click()
    expect(page.get_by_role("row", name=re.compile("broken.jpg"))).to_contain_text(reason)
    expect(page.get_by_role("link", name="Failures as CSV")).to_be_visible()


def test_what_was_cancelled_is_not_shown_as_done(page: Page) -> None:
    image_id: list[str] = []

    def uploaded(route: Route) -> None:
        answer = route.fetch()
        image_id.append(answer.json()["image_id"])
        route.fulfill(response=answer)

    def items(route: Route) -> None:
        item = {"id": "1", "image_id": image_id[0], "status": "cancelled", "attempts": 0, "error": None}
        route.fulfill(body=json.dumps({"items": [item], "next_cursor": None}), content_type="application/json")

    page.route("**/v1/images", uploaded)
    page.route("**/v1/jobs/*/items?*", items)
    page.goto("/#/add")
    page.locator("input[type=file]").first.set_input_files([file("stopped.jpg", specimen(3, 78))])
    expect(page.locator(".arriving .tile", has_text="stopped.jpg")).to_have_attribute("data-state", "cancelled")


def test_one_does_not_leave_by_mistake_while_pictures_are_being_sent(page: Page) -> None:
    held: list[Route] = []
    asked: list[str] = []

    def hold(route: Route) -> None:
        held.append(route)

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.route("**/v1/images", hold)
    page.goto("/#/add")
    page.get_by_label("Hidden files too").click()  # browsers ask no one who has touched nothing
    with page.expect_request("**/v1/images"):
        page.locator("input[type=file]").first.set_input_files([file("going.jpg", specimen(3, 81))])
    page.evaluate("location.assign('docs')")
    page.wait_for_function("document.visibilityState")  # the question has been answered
    assert asked == ["beforeunload"]
    held[0].continue_()
    expect(page.locator(".arriving .tile")).to_have_attribute("data-state", "done", timeout=PATIENCE)


def test_a_zip_becomes_tiles_labelled_by_folder(page: Page) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in (20, 21):
            archive.writestr(f"from-a-zip/{number}.jpg", specimen(2, number))
    page.goto("/#/add")
    page.locator("input[type=file]").nth(2).set_input_files(
        {"name": "pictures.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    )
    expect(page.locator(".arriving [data-state=done]")).to_have_count(2, timeout=PATIENCE)
    page.goto("/#/gallery?label=from-a-zip")
    expect(page.locator(".grid .tile")).to_have_count(2)
