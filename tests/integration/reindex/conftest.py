"""What a worker has for a reindex."""

import pytest

from ml.evaluation.comparison import compare_models
from tests.integration.reindex.gallery import Models, make_version
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.embedding.embedding import EmbeddingLine
from umbel.jobs.claims import Leases
from umbel.reindex.run import ReindexLine


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def line(models: Models) -> EmbeddingLine:
    return EmbeddingLine(transaction, models, Leases(transaction, "tester", 60), settings())


@pytest.fixture
def reindexing(models: Models) -> ReindexLine:
    return ReindexLine(transaction, blobs(), models, compare_models, settings())


@pytest.fixture
def active(models: Models) -> ModelVersion:
    return make_version(models, active=True)
