"""A pooler that lends a connection to each transaction: nothing is left in one, and what needs its own has it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from umbel_client import Umbel

from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.test_server import Api
from tests.integration.workers import start_worker
from tests.pooler import Pooler, is_installed
from umbel.base import database
from umbel.base.database import autocommit, limit_connections, run_prepared, transaction
from umbel.base.errors import TimedOut
from umbel.base.settings import settings

pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.skipif(not is_installed(), reason="PgBouncer is not installed"),
]
SLEEP = "SELECT 1 FROM pg_sleep(%(seconds)s)"
SHOWN = "SELECT current_setting('statement_timeout'), count(*) FROM pg_prepared_statements"


@pytest.fixture(scope="module")
def pooler(postgres: Postgres) -> Iterator[Pooler]:
    pooler = Pooler(postgres.home, postgres.socket_dir)
    pooler.start()
    yield pooler
    pooler.stop()


@pytest.fixture
def through(pooler: Pooler, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's sessions come through the pooler, and have limits."""
    urls = {"database_url": pooler.url(), "database_direct_url": postgres.url()}
    config = settings().model_copy(update=urls)
    known = dict(database._limits)
    monkeypatch.setattr(database, "settings", lambda: config)
    limit_connections(statement_seconds=0.2, idle_seconds=0)
    yield
    database._limits.clear()
    database._limits.update(known)
    database.engine().dispose()


@pytest.mark.usefixtures("through")
def test_each_transaction_has_the_limits_and_leaves_nothing_in_the_connection(pooler: Pooler) -> None:
    for _ in range(2):
        with pytest.raises(TimedOut), transaction() as session:
            session.execute(text("SELECT pg_sleep(5)"))
        with pytest.raises(TimedOut):
            run_prepared(SLEEP, {"seconds": 5})
    for _ in range(8):  # psycopg prepares what it runs for the sixth time
        assert run_prepared(SLEEP, {"seconds": 0}) == [(1,)]
    assert run_prepared("SELECT %s::int", [1], [2]) == []  # several values: no rows
    with pooler.connect() as lent:
        assert lent.execute(SHOWN).fetchone() == ("0", 0)


@pytest.mark.usefixtures("through")
def test_what_is_set_for_a_connection_stays_in_one_of_its_own(pooler: Pooler) -> None:
    with autocommit() as session:
        session.execute(text("SET statement_timeout = '7s'"))
        with pooler.connect() as lent:
            assert lent.execute(SHOWN).fetchone() == ("0", 0)
        assert session.scalar(text("SHOW statement_timeout")) == "7s"
        session.execute(text("RESET statement_timeout"))


@pytest.mark.slow
def test_pictures_are_embedded_and_found_by_processes_behind_it(
    pooler: Pooler, postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    behind = {"UMBEL_DATABASE_URL": pooler.url(), "UMBEL_DATABASE_DIRECT_URL": postgres.url()}
    worker = start_worker("embed@behind", tmp_path / "worker.log", **behind)
    api = Api(tmp_path / "api.log", **behind)
    try:
        with Umbel(api.url) as umbel:
            for seed in range(3):
                assert umbel.images.upload(image_bytes(seed)).wait().status == "indexed"
            assert umbel.search(image_bytes(1)).matches[0].similarity == pytest.approx(1, abs=1e-2)
    finally:
        api.stop()
        worker.stop()
