"""An API with a model, and what reads imports as a worker does."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient

from tests.integration.factory import Factory
from umbel.base.blobs import Blobs, blobs
from umbel.base.database import transaction
from umbel.base.settings import Settings, settings
from umbel.base.types import Queue
from umbel.embedding.handoff import Handoff
from umbel.imports.fetching import FetchingHandler
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
