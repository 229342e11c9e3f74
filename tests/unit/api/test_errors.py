"""Every error has a status, and the API stays light."""

import subprocess
import sys

from api.errors import STATUS
from umbel.base.errors import ImageError, UmbelError
from umbel.search.search import refusal


def family(cls: type[UmbelError]) -> set[type[UmbelError]]:
    """The error and its kinds, as umbel/base/errors.py names them."""
    ours = [sub for sub in cls.__subclasses__() if sub.__module__ == "umbel.base.errors"]
    return {cls} | {each for sub in ours for each in family(sub)}


def test_every_error_has_a_status() -> None:
    assert family(UmbelError) == set(STATUS)


def test_codes_are_unique() -> None:
    codes = [error.code for error in family(UmbelError)]
    assert len(codes) == len(set(codes))


def test_what_a_worker_wrote_down_comes_back_as_the_same_error() -> None:
    for error in family(ImageError):
        assert type(refusal(error.code, "why")) is error  # type: ignore[arg-type]
    assert type(refusal("from a newer version", "why")) is ImageError


def test_importing_the_api_loads_neither_torch_nor_the_worker() -> None:
    code = "import api, sys; print(sorted({'torch', 'timm', 'ml', 'worker'} & set(sys.modules)))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
