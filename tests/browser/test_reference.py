"""The reference at /docs, in a real Chromium."""

from collections.abc import Iterator
from threading import Thread

import pytest
from playwright.sync_api import Browser, expect
from waitress.server import create_server

from api import create_app
from api.specification import operations
from tests.browser.chromium import Watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = create_server(create_app(), host="127.0.0.1", port=0)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"  # type: ignore[union-attr]
    server.close()


def test_the_reference_shows_every_operation_and_asks_no_other_host(chromium: Browser, url: str) -> None:
    page = chromium.new_page(base_url=url)
    watched = Watch(page, url)
    answer = page.goto("/docs")
    policy = answer.headers["content-security-policy"] if answer else ""
    assert policy.startswith("default-src 'self'")
    assert "unsafe-eval" not in policy
    assert "script-src" not in policy  # so the default counts: scripts of ours, none of them inline
    expect(page.get_by_role("heading", name="Umbel", exact=False).first).to_be_visible(timeout=60_000)
    shown = set(page.locator("[id^='operation/'], [id*='/operation/']").evaluate_all("all => all.map(one => one.id)"))
    named = {operation["operationId"] for *_, operation in operations(create_app().spec)}
    assert named - {one.rpartition("/")[2] for one in shown} == set()
    page.wait_for_load_state("networkidle")
    assert watched.trouble == []
    page.close()
