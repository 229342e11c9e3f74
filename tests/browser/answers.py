"""The API for tests of looks: always the same answers, made of the specification's own examples."""

import colorsys
import io
import json
import re
from typing import Any

from apiflask import APIFlask
from PIL import Image
from playwright.sync_api import Page, Route

from api.specification import operations
from tests.browser.viewing import LABELS

NOW = "2026-11-27T12:00:00Z"
IMAGES = 30


def image_id(number: int) -> str:
    return f"019b2f6e-0000-7000-8000-{number:012d}"


def picture(number: int) -> bytes:
    """One colour, another for each picture."""
    colour = [round(255 * part) for part in colorsys.hls_to_rgb(number * 0.38 % 1, 0.55, 0.45)]
    out = io.BytesIO()
    Image.new("RGB", (320, 240), (colour[0], colour[1], colour[2])).save(out, "PNG")
    return out.getvalue()


class Answers:
    """Answers each request of a page by the example of its operation, and lists by many of them."""

    def __init__(self, app: APIFlask) -> None:
        self.examples: list[tuple[re.Pattern[str], str, Any]] = []
        for path, method, operation in operations(app.spec):
            for status, answer in operation["responses"].items():
                example = answer.get("content", {}).get("application/json", {}).get("example")
                if status.startswith("2") and example is not None:
                    pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$")
                    self.examples.append((pattern, method.upper(), example))

    def serve(self, page: Page) -> None:
        page.route(re.compile("/(v1/|readyz)"), self._answer)
        page.clock.set_fixed_time(NOW)

    def _answer(self, route: Route) -> None:
        path = route.request.url.partition("//")[2].partition("/")[2].partition("?")[0]
        if path.endswith(("/thumbnail", "/file")):
            return route.fulfill(body=picture(int(path.split("/")[2][-12:])), content_type="image/png")
        if path == "v1/events":
            return route.fulfill(status=503)
        found = [
            example
            for pattern, method, example in self.examples
            if method == route.request.method and pattern.match(f"/{path}")
        ]
        assert found, path
        body = json.dumps(self._filled(path, found[0]))
        return route.fulfill(body=body, content_type="application/json")

    def _filled(self, path: str, example: Any) -> Any:
        several = {"v1/images": ("items", IMAGES), "v1/search": ("matches", IMAGES), "v1/jobs": ("items", 8)}
        if path == "v1/session":
            return {**example, "signed_in": False, "keys_required": False, "scope": "admin", "collections": None}
        if path == "readyz":
            return {**example, "ready": True, "reasons": []}
        if path == "v1/collections":
            return {"items": [{**example["items"][0], "name": "garden", "images": 240}], "next_cursor": None}
        if path not in several:
            return {**example, "next_cursor": None} if "next_cursor" in example else example
        name, count = several[path]
        rows = [self._row(example[name][0], number) for number in range(count)]
        return {**example, name: rows, "next_cursor": None}

    def _row(self, row: dict[str, Any], number: int) -> dict[str, Any]:
        if "image_id" not in row:
            return {**row, "id": image_id(number)}
        own = {"image_id": image_id(number), "label": LABELS[number // 8 % 4], "status": "indexed"}
        own |= {"similarity": 0.98 - number / 100, "distance": 0.02 + number / 100}
        return {**row, **{key: value for key, value in own.items() if key in row}}
