"""What integration tests share."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from api import create_app
from tests.integration.factory import Factory


@pytest.fixture
def make(session: Session) -> Factory:
    return Factory(session)


@pytest.fixture(scope="module")
def app() -> Flask:
    return create_app()


@pytest.fixture
def api(app: Flask) -> FlaskClient:
    return app.test_client()
