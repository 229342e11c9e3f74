"""An API with a model, and what reads imports as a worker does."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.integration.factory import Factory
from tests.integration.imports.followed import Followed
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.settings import Settings, settings
from umbel.base.types import Queue
from umbel.embedding.handoff import Handoff
from umbel.imports.fetching import FetchingHandler
from umbel.imports.sources.folder import Folder
from umbel.imports.turns import Turns
from umbel.jobs.leases import Leases
from worker.decoders import WorkerDecoders


@pytest.fixture
def api(api: FlaskClient) -> FlaskClient:
    """With an active model."""
    with transaction() as session:
        Factory(session).version()
    return api


@pytest.fixture
def fetch(decoder: WorkerDecoders) -> Iterator[Callable[..., None]]:
    """List and read all that there is to read, as a worker does."""
    with ThreadPoolExecutor(4) as readers, ThreadPoolExecutor(4) as writers:

        def run(
            store: Blobs | None = None,
            config: Settings | None = None,
            handoff: Handoff | None = None,
            wake: Callable[[Queue], object] = lambda _: None,
        ) -> None:
            FetchingHandler(
                transaction=transaction,
                settings=config or settings(),
                leases=Leases(transaction, "me", 60),
                blobs=store or blobs(),
                decoder=decoder,
                readers=readers,
                writers=writers,
                turns=Turns(transaction),
                wake=wake,
                handoff=handoff,
            ).run()

        yield run


@pytest.fixture
def followed(api: FlaskClient, fetch: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Followed:
    folder = tmp_path / "pictures"
    folder.mkdir()
    config = settings().model_copy(update={"import_roots": (str(tmp_path),), "source_tries": 1})
    monkeypatch.setattr("api.syncs.settings", lambda: config)
    made = Followed(api, fetch, folder, config)
    read = Folder.read

    def noted(self: Folder, locator: str) -> bytes:
        made.reads.append(locator)
        return read(self, locator)

    monkeypatch.setattr(Folder, "read", noted)
    return made
