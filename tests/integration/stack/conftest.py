"""A home for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack.homes import new_home, on_a_free_port
from umbel.base.settings import Settings


@pytest.fixture
def home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@pytest.fixture
def settings(home: Path) -> Settings:
    return on_a_free_port(home)
