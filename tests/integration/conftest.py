"""What integration tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from api import create_app
from ml.preprocess import Preprocessing
from stack.postgres import Postgres
from stack.redis import Redis
from tests.integration.factory import Factory
from tests.integration.test_server import Api
from tests.s3_server import s3_server
from umbel.base.blobs import Blobs
from umbel.base.database import engine_of
from umbel.base.settings import settings
from worker.decoders import WorkerDecoders


@pytest.fixture
def make(session: Session) -> Factory:
    return Factory(session)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """A store of the test's own."""
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture(scope="module")
def decoder() -> Iterator[WorkerDecoders]:
    """Children that decode as the shipped model wants it."""
    with WorkerDecoders(Preprocessing(), settings()) as pool:
        yield pool


@pytest.fixture(scope="module")
def app(postgres: Postgres, redis: Redis) -> Flask:
    return create_app()


@pytest.fixture
def api(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def server(postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API as a process of its own."""
    process = Api(tmp_path_factory.mktemp("api") / "log")
    yield process
    process.stop()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of an S3 server."""
    with s3_server() as url:
        yield url


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a database with pgvector and nothing else."""
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE migrated OWNER umbel")
    with postgres.connect("migrated") as connection:
        connection.execute("CREATE EXTENSION vector")
    yield postgres.url("migrated")
    engine_of(postgres.url("migrated")).dispose()
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE migrated WITH (FORCE)")
