"""The models that a worker holds: loaded from the blob store by their hash, two at most, the longest unused let go."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from core.blobs import blobs
from core.errors import UmbelError
from core.settings import settings
from core.types import LoadedModel
from db.session import transaction
from ml.preprocess import Preprocessing
from services.model_versions import blob_keys, register
from services.registration import read_candidate
from tests.checkpoints import variant
from worker import models as held_models
from worker.models import HeldModels

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [
        variant(folder / f"m{number}.safetensors", size=size, seed=number) for number, size in enumerate((64, 64, 96))
    ]


@pytest.fixture
def versions(checkpoints: list[Path]) -> list[UUID]:
    with transaction() as session:
        return [
            register(session, blobs(), read_candidate(path.read_bytes(), path.with_suffix(".json").read_bytes())).id
            for path in checkpoints
        ]


@pytest.fixture
def models() -> HeldModels:
    return HeldModels(settings(), lambda preprocessing: ("decoder", preprocessing.size))  # type: ignore[arg-type,return-value]


def test_a_version_is_what_its_weights_are_and_models_that_see_alike_share_a_decoder(
    models: HeldModels, versions: list[UUID]
) -> None:
    loaded = models.load(versions)
    assert [model.version_id for model in loaded] == versions
    assert len({model.embedder.weights_sha256 for model in loaded}) == 3
    assert loaded[0].decoder is loaded[1].decoder
    assert loaded[0].decoder != loaded[2].decoder


def test_two_are_held_and_the_longest_unused_makes_room(models: HeldModels, versions: list[UUID]) -> None:
    first, second, third = versions
    [one] = models.load([first])
    [two] = models.load([second])
    assert models.load([first]) == [one]
    models.load([third])  # the second goes
    assert models.load([first]) == [one]
    assert models.load([second]) != [two]


def test_whoever_asks_while_it_is_loaded_gets_the_same(models: HeldModels, versions: list[UUID]) -> None:
    found: list[LoadedModel] = []
    ask: Callable[[], None] = lambda: found.extend(models.load(versions[:1]))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({id(model) for model in found}) == 1


def test_one_that_is_missing_is_looked_for_again(
    models: HeldModels, versions: list[UUID], checkpoints: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_models, "RETRY_SECONDS", 0.01)
    sha256 = read_candidate(
        checkpoints[0].read_bytes(), checkpoints[0].with_suffix(".json").read_bytes()
    ).weights_sha256
    weights, _ = blob_keys(sha256)
    for cached in (settings().home / "models").glob(f"{sha256}*"):
        cached.unlink()
    data = blobs().get(weights)
    blobs().delete(weights)
    with pytest.raises(UmbelError, match="missing"):
        models.load(versions[:1])
    blobs().put(weights, data)
    assert _eventually(lambda: models.load(versions[:1]))[0].version_id == versions[0]


def _eventually(load: Callable[[], list[LoadedModel]]) -> list[LoadedModel]:
    from tests.processes import eventually  # noqa: PLC0415

    def look() -> list[LoadedModel]:
        try:
            return load()
        except UmbelError:
            return []

    return eventually(look)


def test_preprocessing_changed_by_a_copy_has_another_hash() -> None:
    plain = Preprocessing()
    assert plain.hash != plain.model_copy(update={"size": 64}).hash
