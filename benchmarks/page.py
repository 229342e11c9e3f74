"""How smooth the page is: the first visit, and a gallery of 50,000 pictures scrolled to its end in Chromium.

    python -m benchmarks.page [--images 50000]

Prints when the largest thing of a first visit is painted (LCP), and of scrolling: how long frames took, how long the
page's own work in them, how many tiles there were at most. The pictures are rows of a drawn garden, made many by SQL:
the thumbnails are those of 240. Without a GPU Chromium draws by the processor, so frames tell of the machine, too.
"""

import argparse
import shutil
from statistics import median
from typing import Any

import psycopg
from playwright.sync_api import Browser, Page

from stack.postgres import DATABASE, PORT, ROLE
from tests.browser.chromium import ABSENT, find_chromium, running
from tests.browser.gallery import plant
from tests.stacks import Stack

VISITS = 5
SPEED = 4_000  # pixels a second, as a quick hand scrolls; then as quick as the page can
# Rows of the garden once more, each with a hash of its own, in a collection of their own.
FILL = """
    WITH many AS (INSERT INTO collection (name) VALUES ('many') RETURNING id)
    INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height, name, label)
    SELECT many.id, sha256(convert_to(n || i.id::text, 'UTF8')),
           blob_key, media_type, size, width, height, n || name, label
    FROM many, generate_series(1, %(times)s) AS n, image i
"""
LCP = """
    () => new Promise((done) => new PerformanceObserver((list) => done(list.getEntries().at(-1).startTime))
        .observe({ type: "largest-contentful-paint", buffered: true }))
"""
SCROLL = """
    async ([speed, seconds]) => {
        const frames = [], work = [];
        let most = 0, last = performance.now();
        const began = last;
        while (performance.now() - began < 1000 * seconds) {
            const now = await new Promise(requestAnimationFrame);
            frames.push(now - last);
            scrollBy(0, speed ? speed * (now - last) / 1000 : 1e7);
            last = now;
            const before = performance.now();
            await new Promise((go) => {
                const { port1, port2 } = new MessageChannel();
                port1.onmessage = go;
                port2.postMessage(0);
            });
            work.push(performance.now() - before);
            most = Math.max(most, document.querySelectorAll(".grid .tile").length);
            const root = document.documentElement;
            const shown = Number([...document.querySelectorAll(".grid .tile")].at(-1)?.getAttribute("aria-posinset"));
            if (shown >= window.wanted && root.scrollTop + innerHeight >= root.scrollHeight - 2) break;
        }
        const at = (list, share) => list.toSorted((a, b) => a - b)[Math.floor(share * (list.length - 1))];
        const places = [...document.querySelectorAll(".grid .tile")].map((tile) => tile.getAttribute("aria-posinset"));
        return {
            seconds: (performance.now() - began) / 1000, frames: frames.length, most, shown: Math.max(...places),
            p50: at(frames, .5), p95: at(frames, .95), p99: at(frames, .99),
            long: frames.filter((one) => one > 50).length / frames.length,
            work50: at(work, .5), work95: at(work, .95), work99: at(work, .99),
        };
    }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    images = parser.parse_args().images
    path = find_chromium()
    if path is None:
        raise SystemExit(ABSENT)
    stack = Stack()
    try:
        stack.umbel("up", "--detach")
        plant(stack, species=12, per_species=20)
        fill(stack, images // 240)
        with running(path) as browser:
            visits = [first_visit(browser, stack) for _ in range(VISITS)]
            listed = sorted(round(each) for each in visits)
            print(f"LCP of a first visit, ms: {listed}, median {median(visits):.0f}", flush=True)
            for name, speed, seconds in (("by hand", SPEED, 20), ("as quick as it goes", 0, 240)):
                told(name, scrolled(browser, stack, images // 240 * 240, speed, seconds))
    finally:
        stack.umbel("down", check=False)
        shutil.rmtree(stack.home, ignore_errors=True)


def fill(stack: Stack, times: int) -> None:
    socket = stack.home / "var" / "run"
    with psycopg.connect(f"postgresql://{ROLE}@/{DATABASE}?host={socket}&port={PORT}") as connection:
        connection.execute(FILL, {"times": times})


def first_visit(browser: Browser, stack: Stack) -> float:
    page = opened(browser, stack)
    page.goto("/")
    page.locator(".grid .tile").first.wait_for()
    page.wait_for_load_state("networkidle")
    painted = float(page.evaluate(LCP))
    page.context.close()
    return painted


def scrolled(browser: Browser, stack: Stack, wanted: int, speed: int, seconds: int) -> dict[str, Any]:
    page = opened(browser, stack)
    page.goto("/#/gallery?collection=many")
    page.locator(".grid .tile").first.wait_for()
    page.evaluate(f"window.wanted = {wanted}")
    found: dict[str, Any] = page.evaluate(SCROLL, [speed, seconds])
    page.context.close()
    return found


def opened(browser: Browser, stack: Stack) -> Page:
    return browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 800}).new_page()


def told(name: str, found: dict[str, Any]) -> None:
    figures = {key: round(value, 4 if key == "long" else 1) for key, value in found.items()}
    print(f"scrolled {name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
