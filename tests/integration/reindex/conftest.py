"""What a worker has for a reindex."""

import pytest

from ml.evaluation.intervals import compare_models
from tests.integration.reindex.gallery import Models, make_version
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.embedding.embedding import EmbeddingHandler
from umbel.jobs.leases import Leases
from umbel.reindex.run import ReindexHandler


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def line(models: Models) -> EmbeddingHandler:
    return EmbeddingHandler(
        transaction=transaction, settings=settings(), leases=Leases(transaction, "tester", 60), models=models
    )


@pytest.fixture
def reindexing(models: Models) -> ReindexHandler:
    return ReindexHandler(
        transaction=transaction, blobs=blobs(), models=models, compare=compare_models, settings=settings()
    )


@pytest.fixture
def active(models: Models) -> ModelVersion:
    return make_version(models, active=True)
