"""The page as people use it, in a real Chromium, against the real stack."""

import io
import json
import re
import zipfile
from urllib.parse import parse_qs

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Dialog, Locator, Page, Route, expect

from garden import SampleGarden
from tests.browser.chromium import Watch
from tests.browser.gallery import specimen
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

LABELS = [SampleGarden().name(species) for species in range(4)]
VIEWS = ("gallery", "add", "search", "identify", "map", "duplicates", "jobs", "admin")
PATIENCE = 40_000  # ms, for what a worker does


def file(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.textContent.trim()"))


MARKED = re.compile("[?&]box=")


def boxed(page: Page) -> tuple[float, ...]:
    """The part of the picture that the address names."""
    [box] = parse_qs(page.url.partition("?")[2])["box"]
    return tuple(map(float, box.split(",")))


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


def test_jobs_are_shown_when_they_happen_and_without_events_by_asking(watch: tuple[Page, Watch], site: Stack) -> None:
    page, watched = watch
    watched.rejected = {503}
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def looks() -> int:
        return sum("/v1/jobs?" in url for url in asked)

    def row_of(number: int) -> Locator:
        sent = {"file": ("new.jpg", specimen(1, number))}
        job = httpx.post(f"{site.url}/v1/images", files=sent, timeout=30).json()["job_id"]
        return page.locator(f'li[data-id="{job}"]')

    page.clock.install()
    with page.expect_response("**/v1/events?*"):
        page.goto("/#/jobs")
    expect(page.locator(".row").first).to_be_visible()
    page.clock.run_for(2_000)  # the first look does not wait for the stream
    before = looks()
    page.clock.run_for(12_000)
    assert looks() - before <= 1
    expect(row_of(950)).to_be_visible()  # though no time passes
    page.route("**/v1/events?*", lambda route: route.fulfill(status=503))
    page.reload()
    expect(page.locator(".row").first).to_be_visible()
    row = row_of(951)
    page.clock.run_for(4_000)
    expect(row).to_be_visible()


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


def test_a_part_of_the_picture_is_marked_by_dragging_or_by_keys(page: Page) -> None:
    """Two flowers beside each other: what is marked decides which of them is found."""
    both, out = Image.new("RGB", (512, 256)), io.BytesIO()
    for at, species in enumerate((0, 2)):
        both.paste(Image.open(io.BytesIO(specimen(species))).resize((256, 256)), (256 * at, 0))
    both.save(out, "PNG")
    # Other tests upload flowers of these two kinds under labels of their own.
    left, right = re.compile(f"{LABELS[0]}|found outside"), re.compile(f"{LABELS[2]}|from-a-zip")
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


def test_a_reindex_is_begun_and_watched_to_its_report(page: Page) -> None:
    page.goto("/#/admin")
    page.get_by_role("link", name="Reindex").click()
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("list", name="Phases")).to_be_visible()
    expect(page.get_by_role("table", name="Before and after")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("row", name=re.compile("Recall@10"))).to_contain_text("%")


def test_the_picture_most_worth_a_label_gets_the_suggested_one(page: Page, site: Stack) -> None:
    listed = httpx.get(f"{site.url}/v1/images", params={"label": LABELS[2], "limit": 1}, timeout=30).json()["items"]
    address = f"{site.url}/v1/images/{listed[0]['image_id']}"
    httpx.patch(address, json={"label": None}, timeout=30).raise_for_status()
    page.goto("/#/admin?tab=curation")
    part = page.get_by_role("region", name="Label next")
    expect(part.locator("input")).to_have_value(LABELS[2])
    part.get_by_role("button", name="Set label").click()
    expect(part.get_by_role("listitem")).to_have_count(0)
    assert httpx.get(address, timeout=30).json()["label"] == LABELS[2]
    expect(page.get_by_role("region", name="Outliers").get_by_role("listitem").first).to_be_visible()
    expect(page.get_by_role("region", name="Representatives").get_by_role("listitem").first).to_be_visible()


def test_keeping_one_of_two_copies_deletes_the_other(page: Page) -> None:
    page.goto("/#/duplicates?collection=garden")
    groups = page.locator(".group")
    expect(groups.first).to_be_visible()
    before = groups.count()
    groups.first.get_by_role("button", name="Keep the chosen").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Delete")).click()
    expect(groups).to_have_count(before - 1)


def test_everything_is_reached_by_keyboard_and_the_focus_is_never_lost(page: Page) -> None:
    page.goto("/#/gallery?collection=garden")
    expect(page.locator(".grid .tile").first).to_be_visible()
    press = page.keyboard.press
    press("Tab")
    assert focused(page) == "A Skip to the content"
    press("Enter")
    assert focused(page).startswith("MAIN")
    for _ in range(5):  # collection, label, filters, add, the first picture
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


def test_a_browser_signs_in_with_a_key_changes_something_and_signs_out(page: Page, site: Stack) -> None:
    key = json.loads(site.umbel("keys", "create", "--name", "browser", "--scope", "write", "--json").stdout)["key"]
    page.goto("/signin")
    page.locator("input[name=key]").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".grid .picture").first.click()
    for write, kept in (
        ({"camera": "X100V", "year": "2020", "code": '"12"', "lens": '{"mm": 35, "f": 2}'}, None),
        ({"lens": '{"mm": 35}'}, {"camera": "X100V", "year": 2020, "code": "12", "lens": {"mm": 35}}),
    ):
        for key, value in write.items():
            if kept is None:
                page.get_by_role("button", name="Add metadata").click()
                page.get_by_label("Key", exact=True).last.fill(key)
            page.get_by_label(f"Value of {key}").fill(value)
        with page.expect_response(lambda answer: answer.request.method == "PATCH") as saved:
            page.get_by_role("button", name="Save").click()
        assert kept is None or saved.value.json()["metadata"] == kept
        expect(page.locator("#said")).to_have_text("Saved.")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("input[name=key]")).to_be_visible()


def test_a_reader_is_offered_nothing_forbidden_and_comes_back_to_its_view(
    watch: tuple[Page, Watch], site: Stack
) -> None:
    page, watched = watch
    watched.rejected = {401}
    key = json.loads(site.umbel("keys", "create", "--name", "reader", "--scope", "read", "--json").stdout)["key"]

    def sign_in() -> None:
        page.locator("input[name=key]").fill(key)
        page.get_by_role("button", name="Sign in").click()

    page.goto("/signin")
    sign_in()
    page.locator(".grid .picture").first.click()
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    for name in ("Delete", "Save"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    expect(page.get_by_role("link", name="Admin")).to_be_hidden()
    expect(page.get_by_role("link", name="Add pictures")).to_have_count(0)
    page.context.clear_cookies()
    page.route("**/v1/jobs?*", lambda route: route.fulfill(status=401), times=1)  # its session is over
    page.goto("/#/jobs?status=failed")
    sign_in()
    page.wait_for_url("**/#/jobs?status=failed")


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
    for view in (*[f"#/{name}" for name in VIEWS], image, similar, verdict, f"#/job/{job}", "signin"):
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
    for view in VIEWS:
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


def test_the_first_view_is_small_and_stays_where_it_is(page: Page) -> None:
    page.goto("/#/gallery")
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(
        """performance.getEntriesByType('resource').filter((one) => /static/.test(one.name))
        .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
    )
    assert sizes < 130_000
    shift = page.evaluate(
        """new Promise((told) => { let sum = 0; const watch = new PerformanceObserver((list) => {
        for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value; });
        watch.observe({ type: 'layout-shift', buffered: true }); setTimeout(() => told(sum), 100); })"""
    )
    assert shift < 0.1
