"""A real Chromium, found on the PATH, and what it must never do on our page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# It asks nobody for anything but what we tell it to: no updates, no look-ups of its maker's hosts.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ABSENT = f"no Chromium on the PATH ({', '.join(NAMES)}); Debian and Ubuntu have it as the package chromium"


def find_chromium() -> str | None:
    """Its path, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def running(path: str) -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # which root has none of
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*QUIET, *sandbox])
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Takes down what a page must not do: errors in the console, requests to other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.trouble: list[str] = []
        self.rejected: set[int] = set()  # statuses that this test provokes
        self._url = url
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.trouble.append(f"uncaught: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"status of {status} " in message.text for status in self.rejected):
            return
        self.trouble.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._url, "blob:", "data:")):
            self.trouble.append(f"off the host: {request.url}")
