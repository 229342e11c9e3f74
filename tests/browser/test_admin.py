"""Admin: what an operator does, and what others are not offered."""

import json
import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import Watch
from tests.browser.gallery import UNSEEN, specimen
from tests.browser.viewing import LABELS, PATIENCE
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


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


def test_a_source_is_followed_run_dry_resumed_and_removed(page: Page, site: Stack) -> None:
    folder = site.home / "followed" / LABELS[1]  # its label, as other tests expect those of the garden
    folder.mkdir(parents=True)
    (folder / "first.jpg").write_bytes(specimen(1, UNSEEN + 11))
    page.goto("/#/admin?tab=sources")
    page.get_by_label("Folder or bucket").fill(str(folder.parent))
    page.get_by_label("Into collection").fill("followed")
    page.get_by_label("Label by folder name").check()
    page.get_by_text("More options").click()
    page.get_by_label("Begin paused").check()
    page.get_by_role("button", name="Follow").click()
    source = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=str(folder.parent)))
    expect(source).to_contain_text("There was no run yet.")
    source.get_by_role("button", name="Dry run").click()
    expect(source).to_contain_text("1 new", timeout=PATIENCE)
    source.get_by_text("1 new", exact=True).click()
    expect(source.get_by_text(f"{LABELS[1]}/first.jpg")).to_be_visible()
    source.get_by_role("button", name="Resume").click()
    expect(source).to_contain_text("1 file;", timeout=PATIENCE)
    expect(source).to_contain_text("Next run")
    (folder / "first.jpg").unlink()
    (folder / "second.jpg").write_bytes(specimen(1, UNSEEN + 12))
    source.get_by_role("button", name="Run now").click()
    source.get_by_role("button", name="Remove what is gone").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(source).to_contain_text("1 gone, 1 unchanged", timeout=PATIENCE)
    source.get_by_role("button", name="Pause").click()
    expect(source).not_to_contain_text("Next run")
    source.get_by_role("button", name=f"Remove {folder.parent}").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(source).to_have_count(0)


def test_a_key_is_made_told_once_used_and_revoked(page: Page, site: Stack) -> None:
    page.goto("/#/admin?tab=keys")
    page.get_by_label("Name").fill("north gate")
    page.get_by_label("Scope").select_option("upload")
    page.get_by_label("Collections").fill("garden, meadow")
    page.get_by_role("button", name="Make a key").click()
    told = page.get_by_label("north gate", exact=True)
    expect(told).to_be_visible()
    bearer = {"Authorization": f"Bearer {told.input_value()}"}
    known = {"json": {"sha256": [], "collection": "garden"}, "headers": bearer, "timeout": 30}
    assert httpx.post(f"{site.url}/v1/images:check", **known).status_code == 200
    page.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_label("Name")).to_be_focused()
    made = page.get_by_role("row", name=re.compile("north gate")).first
    expect(made).to_contain_text("garden, meadow")
    made.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(made).to_contain_text("revoked")
    expect(made.get_by_role("button")).to_have_count(0)
    assert httpx.post(f"{site.url}/v1/images:check", **known).status_code == 401


def test_a_webhook_is_added_paused_delivered_to_again_and_removed(page: Page, site: Stack) -> None:
    page.goto("/#/admin?tab=webhooks")
    page.get_by_label("Address").fill("http://10.0.0.1:9/hook")  # where deliveries are refused, and reach no one
    page.get_by_label("Jobs").check()
    page.get_by_role("button", name="Add a webhook").click()
    expect(page.get_by_label("Its secret")).to_have_value(re.compile("^whsec_"))
    hook = page.get_by_role("listitem").filter(has_text="http://10.0.0.1:9/hook")
    expect(hook).to_contain_text("job.*")
    hook.get_by_role("button", name="Pause").click()
    expect(hook).to_contain_text("disabled it.")
    hook.get_by_role("button", name="Enable").click()
    hook.get_by_text("Deliveries").click()
    expect(hook.get_by_text("Nothing has been delivered yet.")).to_be_visible()
    hook.get_by_role("combobox").select_option("the last week")
    hook.get_by_role("button", name="Deliver what").click()
    expect(hook.get_by_role("row", name=re.compile("job.finished")).first).to_be_visible()
    hook.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(hook).to_have_count(0)


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


def test_a_collection_is_made_limited_tiled_and_deleted(page: Page, site: Stack) -> None:
    page.goto("/#/admin?tab=collections")
    page.get_by_label("Name", exact=True).fill("small")
    page.get_by_role("button", name="Make a collection").click()
    made = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="small", exact=True))
    expect(made).to_contain_text("0 pictures")
    made.get_by_text("Quota").click()
    made.get_by_label("Most pictures").fill("5")
    made.get_by_label("Most megabytes").fill("2")
    made.get_by_role("button", name="Set small").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    choice = made.get_by_label("Tiles small")
    choice.select_option("4 of each picture")
    expect(page.get_by_role("dialog")).to_contain_text("4 tiles of each picture are embedded: 0 vectors")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(choice).to_have_value("0")
    choice.select_option("4 of each picture")
    page.get_by_role("dialog").get_by_role("button", name="Change").click()
    expect(choice.locator("option")).to_have_text(["none", "4 of each picture"])
    address = f"{site.url}/v1/collections/small"
    found = httpx.get(address, timeout=30).json()
    assert [found[name] for name in ("tiles", "max_images", "max_bytes")] == [4, 5, 2 * 2**20]
    made.get_by_role("button", name="Delete small").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(made).to_have_count(0)
    assert httpx.get(address, timeout=30).status_code == 404
