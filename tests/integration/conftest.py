"""What integration tests share."""

import pytest
from sqlalchemy.orm import Session

from tests.integration.factory import Factory


@pytest.fixture
def make(session: Session) -> Factory:
    return Factory(session)
