"""Whatever a source becomes from one run of a sync to the next, the gallery follows."""

from collections.abc import Iterator
from concurrent.futures import Future
from hashlib import sha256
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tests.examples import examples
from tests.integration.imports.followed import Followed
from umbel.base.database import transaction
from umbel.base.in_place import Location
from umbel.base.types import ImageInfo
from umbel.imports.sources import Entry

pytestmark = pytest.mark.usefixtures("database", "redis")


class Memory:
    """A source of the test's own: {path: content}, of which a content that is None cannot be read."""

    def __init__(self, files: dict[str, int], size: int) -> None:
        self.files, self.size = files, size

    def entries(self, after: str | None = None) -> Iterator[Entry]:
        for path, content in sorted(self.files.items()):
            if after is None or path > after:
                yield Entry(path, path, path, location=Location(path, str(content)))

    def read(self, locator: str) -> bytes:
        return b"%d" % self.files[locator]

    def close(self) -> None:
        pass


def looked_at(*_: object) -> "Future[ImageInfo]":
    """In place of decoding."""
    future: Future[ImageInfo] = Future()
    future.set_result(ImageInfo("image/jpeg", 1, 1))
    return future


NUMBERS = count()
HASHES = text("""
    SELECT image.id, encode(sha256, 'hex') AS hash FROM image JOIN sync USING (collection_id) WHERE sync.id = :sync
""")
KNOWN = text("SELECT locator, image_id FROM sync_file WHERE sync_id = :sync")
FILES = st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e", "f"]), st.integers(0, 4), max_size=5)


@examples(25)
@given(states=st.lists(FILES, min_size=2, max_size=3), steps=st.integers(1, 3))
def test_after_each_run_the_gallery_is_the_source(
    followed: Followed, monkeypatch: pytest.MonkeyPatch, states: list[dict[str, int]], steps: int
) -> None:
    """Whatever comes, changes, moves and goes: the bytes are those of the source, and what stays keeps its image."""
    followed.add(collection=f"c{next(NUMBERS)}")
    ids: dict[str, str] = {}
    for files in states:
        source = Memory(files, steps)
        with monkeypatch.context() as patch:
            patch.setattr("umbel.imports.fetching.open_source", lambda *_, **__: source)  # noqa: B023
            patch.setattr("worker.decoders.WorkerDecoders.inspect", looked_at)
            patch.setattr("umbel.imports.listing.CHUNK", steps)
            patch.setattr("umbel.imports.sync.finishing.BATCH", steps)
            followed.run()
        with transaction() as session:
            rows = session.execute(HASHES, {"sync": followed.sync}).all()
            known = dict(session.execute(KNOWN, {"sync": followed.sync}).all())
        now = {row.hash: str(row.id) for row in rows}
        hashes = {path: sha256(b"%d" % content).hexdigest() for path, content in files.items()}
        assert set(now) == set(hashes.values())
        assert {path: str(image) for path, image in known.items()} == {path: now[one] for path, one in hashes.items()}
        assert {one: now[one] for one in now.keys() & ids.keys()} == {one: ids[one] for one in now.keys() & ids.keys()}
        ids = now
