"""`make screenshots`: every view, light and dark, wide and on a phone, as docs/images/page/VIEW-SCHEME-WIDTH.webp.

They show the sample garden, spoilt a little (tests/browser/gallery.py), on a stack of their own.
"""

import io
import shutil
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.chromium import ABSENT, find_chromium, running
from tests.browser.gallery import begun, done, plant, specimen, spoil
from tests.browser.viewing import TABS
from tests.stacks import Stack

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "page"
WIDTHS = {"wide": (1280, 800), "phone": (390, 844)}
FOLLOWED = Path(tempfile.gettempdir()) / "photos"
QUALITY = 74
PATIENCE = 60_000


def main() -> int:
    path = find_chromium()
    if path is None:
        print(f"No screenshots: {ABSENT}.", file=sys.stderr)
        return 1
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    stack = Stack()
    stack.environment["UMBEL_IMPORT_ROOTS"] = f"{FOLLOWED},s3://pictures"
    try:
        stack.umbel("up", "--detach")
        with running(path) as browser:
            empty(browser, stack)
            plant(stack, species=12, per_species=20, size=640)
            spoil(stack)
            done(stack, begun(stack, "/v1/map", {"collection": "garden"}))
            done(stack, begun(stack, "/v1/admin/reindex", {"mode": "index"}))
            operate(stack)
            for scheme in ("light", "dark"):
                for name, size in WIDTHS.items():
                    every_view(browser, stack, scheme, name, size)
    finally:
        stack.umbel("down", check=False)
        for folder in (stack.home, FOLLOWED):
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def operate(stack: Stack) -> None:
    """What an operator has done: sources, keys, webhooks, a measurement; and some pictures in the trash."""
    FOLLOWED.mkdir()
    for number in range(3):
        (FOLLOWED / f"{number}.jpg").write_bytes(specimen(2, 500 + number))
    with stack.client() as client:
        client.syncs.add("s3://pictures/2026", collection="garden", every_seconds=86_400, paused=True)
        followed = client.syncs.add(str(FOLLOWED), collection="photos")
        assert followed.last_run
        done(stack, str(followed.last_run.job_id))
        client.keys.create("shop window", "read", collections=["garden"])
        client.keys.create("camera at the gate", "upload", collections=["garden"], lasts=timedelta(days=90))
        client.keys.revoke(client.keys.create("trial", "write", lasts=timedelta(days=1)).id)
        client.webhooks.create("https://hooks.example.com/umbel", types=["job.finished"])
        client.webhooks.disable(client.webhooks.create("https://shop.example.com/pictures", types=["image.*"]).id)
        client.admin.measure_recall(k=10, sample=50)
        specimens = [client.images.upload(specimen(7, 800 + number), label="blurred") for number in range(3)]
        client.images.delete_many(ids=[each.image_id for each in specimens]).wait(60)


def empty(browser: Browser, stack: Stack) -> None:
    page = opened(browser, stack, "light", WIDTHS["wide"])
    shoot(page, "empty-light-wide", "#/gallery")


def every_view(browser: Browser, stack: Stack, scheme: str, width: str, size: tuple[int, int]) -> None:
    page = opened(browser, stack, scheme, size)
    suffix = f"{scheme}-{width}"
    page.goto("/#/gallery?collection=garden")
    copy = page.evaluate("fetch('/v1/duplicates').then((answer) => answer.json())")["items"][0]["keep"]
    ids = page.evaluate("fetch('/v1/images?limit=200&collection=garden').then((answer) => answer.json())")["items"]
    ids = [each["image_id"] for each in ids if each["status"] == "indexed"]
    jobs = page.evaluate("fetch('/v1/jobs?type=reindex').then((answer) => answer.json())")["items"]
    views = {
        "gallery": "#/gallery?collection=garden",
        "picture": f"#/image/{copy}",
        "search": f"#/search?image={ids[30]}&collection=garden",
        "basket": f"#/search?more={ids[70]},{ids[72]}&less={ids[110]}&collection=garden",
        "map": "#/map?collection=garden",
        "duplicates": "#/duplicates",
        "jobs": "#/jobs",
        "reindex": f"#/job/{jobs[0]['id']}",
        "trash": "#/trash",
        **{f"admin-{tab}": f"#/admin?tab={tab}" for tab in ("models", *TABS)},
    }
    for name, address in views.items():
        shoot(page, f"{name}-{suffix}", address)
    page.goto("/#/identify")
    page.locator("input[type=file]").first.set_input_files(
        {"name": "unseen.jpg", "mimeType": "image/jpeg", "buffer": specimen(5)}
    )
    page.locator(".answer").wait_for(timeout=PATIENCE)
    keep(page, f"identify-{suffix}")
    page.goto("/#/add")
    fresh = 300 + 100 * len(list(FOLDER.glob("add-*")))  # pictures that are not there yet
    images = [
        {"name": f"{number}.jpg", "mimeType": "image/jpeg", "buffer": specimen(number % 12, fresh + number)}
        for number in range(17)
    ]
    broken = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8 no picture"}
    page.locator("input[type=file]").first.set_input_files([*images[:9], broken, *images[9:]])
    page.locator("[data-state=failed]").wait_for(timeout=PATIENCE)
    page.locator("[data-state=queued], [data-state=embedding], [data-state=known]").first.wait_for(timeout=PATIENCE)
    keep(page, f"add-{suffix}")
    page.context.close()


def opened(browser: Browser, stack: Stack, scheme: str, size: tuple[int, int]) -> Page:
    width, height = size
    context = browser.new_context(
        base_url=stack.url,
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        has_touch=width < 500,
        is_mobile=width < 500,
    )
    return context.new_page()


def shoot(page: Page, name: str, address: str) -> None:
    page.goto(f"/{address}")
    page.reload()
    page.locator("h1").wait_for()
    keep(page, name)


def keep(page: Page, name: str) -> None:
    """What is on the screen, once nothing is loading any more."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function("[...document.images].every((one) => one.complete || one.loading === 'lazy')")
    page.wait_for_timeout(300)  # pictures that have come are painted with the next frames
    image = Image.open(io.BytesIO(page.screenshot()))
    image.save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)
    print(name)


if __name__ == "__main__":
    sys.exit(main())
