"""The client for async programs has all that the other one has."""

import inspect
from typing import Any

import pytest
from umbel_client import AsyncUmbel, Umbel

# What makes an object that waits by itself, and closing, which is `aclose`.
OTHERWISE = {("jobs", "begin"), ("jobs", "work"), ("", "close")}


def methods(part: Any) -> set[str]:
    return {name for name, _ in inspect.getmembers(part, callable) if not name.startswith("_")}


@pytest.mark.parametrize(
    "part", ["", *(name for name in vars(Umbel("http://a")) if name not in ("connection", "_queries"))]
)
def test_each_method_is_there(part: str) -> None:
    with Umbel("http://127.0.0.1:9") as umbel:
        wanted = methods(getattr(umbel, part) if part else umbel)
    there = AsyncUmbel("http://127.0.0.1:9")
    found = methods(getattr(there, part) if part else there)
    assert wanted - found == {name for place, name in OTHERWISE if place == part}
    assert found - wanted == (set() if part else {"aclose", "wait"})
