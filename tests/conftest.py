"""A real Postgres and a real Redis for the whole run, their schema from the migrations; pictures to send.

The settings are taken from the environment once a process, so it is set here before anything of Umbel is imported.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from tests.conversions import FOLDER, share_conversions

HOME = Path(tempfile.mkdtemp(prefix="umbel-tests-"))
for variable in [name for name in os.environ if name.startswith("UMBEL_") and not name.startswith("UMBEL_TEST_")]:
    del os.environ[variable]
os.environ["UMBEL_HOME"] = str(HOME)
os.environ["UMBEL_LOG_LEVEL"] = "WARNING"
os.environ["UMBEL_MEASURE_SECONDS"] = "0"  # each home would spend ten seconds of both cores on the same question
os.environ[FOLDER] = os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="umbel-tests-converted-")  # one for all workers
share_conversions(HOME)
if "PYTEST_XDIST_WORKER" in os.environ:  # others run beside us: a team of threads that share cores wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
from sqlalchemy import text  # noqa: E402
from sqlalchemy.exc import DBAPIError  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from stack.postgres import DATABASE, PORT, ROLE, Postgres  # noqa: E402
from stack.redis import Redis  # noqa: E402
from tests.examples import load_profile  # noqa: E402
from tests.pooler import POOLER_PORT, Pooler  # noqa: E402
from umbel.base import schema  # noqa: E402
from umbel.base.database import engine  # noqa: E402
from umbel.base.settings import Settings, settings  # noqa: E402
from umbel.base.tables import Table  # noqa: E402

load_profile()

POOLED = bool(os.environ.get("UMBEL_TEST_POOLER"))  # the whole run through PgBouncer
if POOLED:
    folder = quote(str(Settings().socket_dir))
    os.environ["UMBEL_DATABASE_DIRECT_URL"] = f"postgresql://{ROLE}@/{DATABASE}?host={folder}&port={PORT}"
    os.environ["UMBEL_DATABASE_URL"] = f"postgresql://{ROLE}@/{DATABASE}?host={folder}&port={POOLER_PORT}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of this run, migrated. fsync is off: these tests kill processes, not the machine."""
    server = Postgres(HOME, settings().socket_dir, durable=False)
    pooler = Pooler(HOME, settings().socket_dir)
    server.start()
    try:
        schema.upgrade(settings().direct_database)
        if POOLED:
            pooler.start()
        yield server
    finally:
        engine().dispose()
        pooler.stop()
        server.stop()


# Where torch is not installed (CI runs the unit tests on other Pythons without it), what needs the model is left out.
collect_ignore = [] if find_spec("torch") else ["integration", "e2e", "unit/ml", "unit/worker"]

# Whole stacks, storms, a browser and a notebook: longer than `make test` may take, so left to `make test-all`.
SLOW_FOLDERS = {"browser", "e2e", "faults", "notebooks"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file of which no test is asked for is not imported: of more than three hundred, a few dozen have slow tests."""
    if collection_path.suffix != ".py":
        return None
    if collection_path.parent.name in SLOW_FOLDERS:
        return config.option.markexpr == "not slow" or None
    return (config.option.markexpr == "slow" and "slow" not in collection_path.read_text()) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
        if POOLED and item.get_closest_marker("direct"):
            item.add_marker(pytest.mark.skip(reason="not through a pooler"))


def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)


@pytest.fixture(scope="session")
def redis(postgres: Postgres) -> Iterator[Redis]:
    server = Redis(HOME, settings().socket_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[None]:
    """The migrated database, emptied afterwards with the blobs: for tests whose subject commits by itself."""
    yield
    empty_gallery()


@pytest.fixture(scope="module")
def shared_gallery(postgres: Postgres) -> Iterator[None]:
    """As `database`, for tests that share a gallery, and a worker that embeds it; emptied after the last of them."""
    yield
    empty_gallery()


def empty_gallery() -> None:
    """Remove what tests committed, the blobs too."""
    for folder in ("pictures", "thumbnails", "published", "imports", "models"):
        shutil.rmtree(HOME / "blobs" / folder, ignore_errors=True)
    with engine().begin() as connection:
        for partition in connection.scalars(
            text(
                "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class"
                " ON oid = inhparent WHERE relname = 'embedding'"
            )
        ).all():
            connection.execute(text(f"DROP TABLE {partition}"))
    # TRUNCATE only where there is much to delete: it recreates each table and each index, which takes four times as
    # long in hundreds of tests.
    tables = Table.metadata.tables
    truncate = text(f"TRUNCATE {', '.join(tables)}")
    with suppress(DBAPIError), engine().begin() as connection:  # where a test has left wrong counts, triggers refuse
        if connection.scalar(text("SELECT count(*) > 2000 FROM image")):
            connection.execute(truncate)
        else:
            for table in (*reversed(Table.metadata.sorted_tables), tables["tally"]):  # which others' triggers add to
                connection.execute(table.delete())
        return
    with engine().begin() as connection:
        connection.execute(truncate)


@pytest.fixture
def session(postgres: Postgres) -> Iterator[Session]:
    """A session inside a transaction that is rolled back, whatever the test does."""
    with engine().connect() as connection:
        outer = connection.begin()
        with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()


@pytest.fixture(scope="session")
def photos() -> Path:
    """Labelled photographs that are no part of the project: UMBEL_TEST_PHOTOS names their folder of class folders."""
    return _data("UMBEL_TEST_PHOTOS", "photographs")


@pytest.fixture(scope="session")
def hostile() -> Path:
    """Damaged and malicious pictures that are no part of the project: UMBEL_TEST_HOSTILE names their folder."""
    return _data("UMBEL_TEST_HOSTILE", "hostile pictures")


def _data(variable: str, what: str) -> Path:
    folder = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not folder.is_dir():
        pytest.skip(f"{variable} does not name a folder of {what}")
    return folder
