"""The stack of the tests of a file."""

import shutil
from collections.abc import Iterator

import pytest

from tests.stacks import Stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    made = Stack()
    try:
        yield made
    finally:
        made.umbel("down", check=False)
        shutil.rmtree(made.home, ignore_errors=True)
