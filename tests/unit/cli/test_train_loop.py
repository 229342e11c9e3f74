"""The loop of `umbel train` against a service that is made up: what is done is not done again after a kill."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from umbel_client import ApiError, Image, Job, Work
from umbel_files.skipping import skipped_path

from cli.output import progress
from cli.train import loop as improve
from cli.train.gallery import fetch_labelled, folder_name, name_by_gallery
from cli.train.loop import Loop, Note, Outcome, Plan
from ml.training.files import RunFiles
from tests.unit.cli.test_reindex import REPORT, ended
from umbel.base.errors import BadDataset


class Service:
    """As much of a client as the loop asks for; `killed`: the request at which the power goes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.killed = ""
        self.version = SimpleNamespace(id=uuid4(), name="mine", state="registered")
        self.running: list[Job] = []
        self.ended: dict[UUID, Job] = {}
        self.pictures: list[Image] = []
        self.models = SimpleNamespace(get=lambda model_id: self.version, register=self._register)
        self.jobs = SimpleNamespace(get=self._get, list=self._list)
        self.images = SimpleNamespace(list=lambda **filters: iter(self.pictures), file=self._file)
        self.admin = SimpleNamespace(reindex=self._reindex)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what == self.killed:
            self.killed = ""
            raise KeyboardInterrupt

    def _register(self, weights: Path, card: Path, split: Path) -> Any:
        self._ask("register")
        return self.version

    def _reindex(self, **options: Any) -> Work:
        if self.running:
            raise ApiError(409, {"detail": "a reindex is under way"})
        self._ask("reindex")
        self.version.state = "active"
        return self._end(ended(REPORT | {"switched": True}, id=uuid4(), model_version=self.version.id))

    def _end(self, job: Job) -> Work:
        self.ended[job.id] = job
        return Work(job.id, SimpleNamespace(get=lambda job_id, wait=None: self._get(job_id)))  # type: ignore[arg-type]

    def _get(self, job_id: UUID, *, wait: float = 0) -> Job:
        self._ask("job")
        self.running = [one for one in self.running if one.id != job_id]
        return self.ended[job_id]

    def _list(self, **filters: str) -> Iterator[Job]:
        yield from self.running
        yield from reversed(self.ended.values())

    def _file(self, image_id: UUID) -> bytes:
        self._ask("file")
        if image_id.int == 404:
            raise ApiError(404, {"detail": "There is no such image."})
        return image_id.bytes


class Training:
    """A run that writes its files at once."""

    def __init__(self, out: Path) -> None:
        self.files = RunFiles(out, "mine")
        self.learnt: list[list[Path]] = []

    def learn(self, folders: list[Path], bars: Any) -> dict[str, Any]:
        self.learnt.append(folders)
        pictures = [{"path": "rose/ab.jpg", "sha256": "00", "role": "train"}]
        self.files.split.write_text(json.dumps({"version": 1, "pictures": pictures}))
        return {"card": {"weights_sha256": "cafe"}}


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.setattr(improve, "read_card", lambda path: SimpleNamespace(weights_sha256="cafe"))
    return Training(tmp_path)


def go(service: Service, training: Training, *, collection: str | None = None, activate: bool = True) -> Outcome:
    plan = Plan([Path("photos")], collection, register=True, reindex=True, activate=activate)
    note = Note(training.files.out / "mine.loop.json", ["photos", collection], fresh=False)
    with progress(quiet=True) as bars:
        return Loop(service, plan, training, note, bars).run()  # type: ignore[arg-type]


def image(number: int, label: str | None) -> Image:
    values = {"image_id": UUID(int=number), "collection": "c", "name": None, "label": label, "metadata": {}}
    values |= {"status": "indexed", "media_type": "image/jpeg", "size": 1, "sha256": f"{number:064x}"}
    return Image.decode(values | {"width": 1, "height": 1, "note": None, "created_at": "2026-01-01T00:00:00Z"})


def test_from_pictures_to_the_active_model(service: Service, training: Training) -> None:
    outcome = go(service, training)
    assert outcome.model is not None
    assert outcome.job is not None
    assert (outcome.model.state, outcome.job.reindex.switched) == ("active", True)  # type: ignore[union-attr]
    assert service.asked == ["register", "reindex", "job"]
    assert not (training.files.out / "mine.loop.json").exists()


@pytest.mark.parametrize("at", ["register", "reindex", "job"])
def test_killed_at_any_step_the_same_command_goes_on(service: Service, training: Training, at: str) -> None:
    service.killed = at
    with pytest.raises(KeyboardInterrupt):
        go(service, training)
    outcome = go(service, training)
    assert len(training.learnt) == 1
    assert outcome.job is not None
    assert outcome.reached(Plan([], None, register=True, reindex=True, activate=True))
    assert len(service.ended) == 1


def test_one_under_way_that_is_the_same_is_followed(service: Service, training: Training) -> None:
    job = ended(REPORT | {"switched": True}, model_version=service.version.id)
    service.running = [replace(job, finished_at=None)]
    service.ended[job.id] = job
    outcome = go(service, training)
    assert (outcome.job, "reindex" in service.asked) == (job, False)


def test_one_under_way_that_would_not_switch_is_let_end_first(service: Service, training: Training) -> None:
    job = ended(REPORT | {"switched": False}, model_version=service.version.id)
    assert job.reindex is not None
    job = replace(job, reindex=replace(job.reindex, activate=False))
    service.running = [replace(job, finished_at=None)]
    service.ended[job.id] = job
    outcome = go(service, training)
    assert outcome.job is not None
    assert outcome.job.id != job.id
    assert "reindex" in service.asked


def test_one_under_way_of_another_model_is_an_error(service: Service, training: Training) -> None:
    service.running = [ended(None, model_version=uuid4(), finished_at=None)]
    with pytest.raises(ApiError, match="under way"):
        go(service, training)


def test_pictures_are_fetched_once_and_named_by_the_gallery(service: Service, training: Training) -> None:
    service.pictures = [image(1, "rose"), image(2, "rose"), image(3, "lily"), image(4, None)]
    service.killed = "register"
    with pytest.raises(KeyboardInterrupt):
        go(service, training, collection="garden")
    folder = training.files.out / "mine.pictures" / "garden"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")) == [
        f"rose/{1:064x}.jpg",
        f"rose/{2:064x}.jpg",
    ]
    assert training.learnt == [[folder]]
    assert json.loads(training.files.split.read_text())["pictures"][0]["gallery_sha256"] == "ab"
    go(service, training, collection="garden")
    assert service.asked.count("file") == 2


def test_an_unfinished_training_keeps_its_pictures(service: Service, training: Training, tmp_path: Path) -> None:
    service.pictures = [image(1, "rose"), image(2, "rose")]
    service.killed = "register"
    training.learn, learn = lambda folders, bars: {}["killed"], training.learn  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyError):
        go(service, training, collection="garden")
    training.files.state.touch()
    training.learn = learn  # type: ignore[method-assign]
    service.pictures.append(image(3, "rose"))
    with pytest.raises(KeyboardInterrupt):
        go(service, training, collection="garden")
    assert len([*(tmp_path / "mine.pictures" / "garden" / "rose").iterdir()]) == 2


def test_the_folder_follows_the_gallery(service: Service, tmp_path: Path) -> None:
    service.pictures = [image(n, "rose") for n in (1, 2, 404)]
    with progress(quiet=True) as bars:
        fetched = fetch_labelled(service, "garden", tmp_path, bars)  # type: ignore[arg-type]
        assert (fetched.images, [one[0].int for one in fetched.rejected]) == (2, [404])
        service.pictures = [image(n, "lily") for n in (2, 3)]
        fetch_labelled(service, "garden", tmp_path, bars)  # type: ignore[arg-type]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lily"]
        service.pictures = []
        with pytest.raises(BadDataset, match="no labelled pictures"):
            fetch_labelled(service, "garden", tmp_path, bars)  # type: ignore[arg-type]


@pytest.mark.parametrize("label", ["rose", "Sweet William", "черника", "a.b-c_d, e"])
def test_a_label_that_can_be_a_folder_is_one(label: str) -> None:
    assert folder_name(label) == label


def test_other_labels_stay_apart() -> None:
    labels = [
        "a/b",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "x" * 200,
        "x" * 199,
        " a",
        "a ",
        "?",
        "a\nb",
        "RECYCLER",
        "a.photoslibrary",
    ]
    names = [folder_name(label) for label in labels]
    assert len(set(names)) == len(labels)
    assert not any(skipped_path(f"{name}/1.jpg") for name in names)
    assert all(name[0] != "." and "/" not in name and "\\" not in name and len(name) < 80 for name in names)


def test_naming_twice_is_harmless(tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"version": 1, "pictures": [{"path": "rose/ab.jpg", "sha256": "00", "role": "train"}]}))
    name_by_gallery(split)
    once = split.read_text()
    name_by_gallery(split)
    assert split.read_text() == once
