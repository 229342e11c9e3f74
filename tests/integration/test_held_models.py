"""The models that a worker holds: loaded from the blob store by their hash, two at most, the longest unused let go."""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from uuid import UUID

import pytest

from ml.preprocess import Preprocessing
from tests.checkpoints import variant
from tests.processes import eventually
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import BadCheckpoint, UmbelError
from umbel.base.settings import settings
from umbel.base.types import LoadedModel
from umbel.models.checkpoints import Candidate, blob_keys, read_candidate, register
from umbel.models.versions import get_version, insert_next_generation
from worker import models as held_models
from worker.handlers import Handlers
from worker.models import HeldModels
from worker.watchdog import Exit, Watchdog

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
        return [register(session, blobs(), candidate_of(path)).id for path in checkpoints]


def candidate_of(checkpoint: Path) -> Candidate:
    return read_candidate(checkpoint.read_bytes(), checkpoint.with_suffix(".json").read_bytes())


@pytest.fixture
def models() -> HeldModels:
    # On torch: this process goes on to other tests, and OpenVINO's threads stay in a process that had them once.
    config = settings().model_copy(update={"runtime": "torch"})
    return HeldModels(config, lambda preprocessing: ("decoder", preprocessing.size))  # type: ignore[arg-type,return-value]


def test_a_version_is_what_its_weights_are_and_models_that_see_alike_share_a_decoder(
    models: HeldModels, versions: list[UUID]
) -> None:
    loaded = models.load(versions)
    assert [model.version_id for model in loaded] == versions
    assert len({model.embedder.weights_sha256 for model in loaded}) == 3
    assert loaded[0].decoder is loaded[1].decoder
    assert loaded[0].decoder != loaded[2].decoder


def test_a_checkpoint_that_embeds_anew_is_loaded_once(models: HeldModels, versions: list[UUID]) -> None:
    with transaction() as session:
        anew = insert_next_generation(session, get_version(session, versions[0])).id
    one, other = models.load([versions[0], anew])
    assert (one.version_id, other.version_id) == (versions[0], anew)
    assert one.embedder is other.embedder


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
    sha256 = candidate_of(checkpoints[0]).weights_sha256
    weights, _ = blob_keys(sha256)
    for cached in (settings().home / "models").glob(f"{sha256}*"):
        cached.unlink()
    data = blobs().get(weights)
    blobs().delete(weights)
    with pytest.raises(UmbelError, match="missing"):
        models.load(versions[:1])
    blobs().put(weights, data)
    eventually(lambda: can_be_loaded(models, versions[0]))


def can_be_loaded(models: HeldModels, version_id: UUID) -> bool:
    with suppress(UmbelError):
        return models.load([version_id])[0].version_id == version_id
    return False


def test_a_model_that_makes_no_numbers_is_refused(models: HeldModels, tmp_path: Path) -> None:
    broken = candidate_of(variant(tmp_path / "broken.safetensors", noise=100))
    with transaction() as session:
        version_id = register(session, blobs(), broken).id
    with pytest.raises(BadCheckpoint, match="no numbers"):
        models.load([version_id])


def test_preprocessing_changed_by_a_copy_has_another_hash() -> None:
    plain = Preprocessing()
    assert plain.hash != plain.model_copy(update={"size": 64}).hash


def test_a_process_whose_model_hangs_while_it_is_loaded_ends(
    models: HeldModels, versions: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, left = threading.Event(), SimpleQueue[Exit]()
    monkeypatch.setattr(held_models, "load_version", lambda *_: goes_on.wait())
    config = settings().model_copy(update={"hang_seconds": 0.01})
    watchdog = Watchdog(transaction, config, [], left.put)
    Handlers(config, models, None, watchdog, name="hangs", queues=[], stopping=lambda: False)  # type: ignore[arg-type]
    watchdog.look(progressed=False)  # nothing is loaded yet
    assert left.empty()
    loading = threading.Thread(target=can_be_loaded, args=[models, versions[0]])
    loading.start()
    try:
        eventually(lambda: watchdog.look(progressed=False) or not left.empty())
        assert left.get() == Exit.HANGS
    finally:
        goes_on.set()
        loading.join()
