"""Jobs, as they happen."""

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import Watch
from tests.browser.gallery import specimen
from tests.stacks import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


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
