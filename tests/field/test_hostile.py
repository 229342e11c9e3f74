"""Files made to hurt, in real decoder children with the limits of the service: refused by type or taken, and no child
dies of them.
"""

from collections.abc import Iterator

import pytest

from ml.preprocess import Preprocessing
from tests.field.hostile import HOSTILE
from umbel.base.errors import ImageError
from umbel.base.settings import Settings
from worker.decoders import WorkerDecoders


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerDecoders]:
    limits = Settings(home=tmp_path_factory.mktemp("home"), decode_processes=1)
    with WorkerDecoders(Preprocessing(), limits) as pool:
        yield pool


SLOW = (
    "AVIF of 40 megapixels",
    "PNG whose pixels inflate to 300 MB",
    "JPEG of 400 scans",
    "TIFF that claims 6,000 × 6,000",
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in HOSTILE])
def test_a_hostile_file_is_taken_or_refused_and_its_decoder_lives(pool: WorkerDecoders, name: str) -> None:
    data = HOSTILE[name]()
    inspected = pool.inspect(data).exception(60)
    decoded = pool.decode(data).exception(60)
    assert isinstance(inspected, ImageError | None)
    assert (getattr(inspected, "code", None)) == getattr(decoded, "code", None), (inspected, decoded)
    # A child that ran out of memory is replaced, which an answer of one that lives shows not to have happened.
    pids = pool.pids()
    assert pool.decode(HOSTILE["TIFF of 1,000 frames"]()).exception(60) is None
    assert pool.pids() == pids


@pytest.mark.slow
def test_the_largest_picture_of_the_costliest_kind_is_taken(pool: WorkerDecoders) -> None:
    assert pool.inspect(HOSTILE["AVIF of 40 megapixels"]()).result(60).width == 8000
