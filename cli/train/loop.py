"""The loop of `umbel train`: labelled pictures → a model → registered → reindexed → active, if it is not worse.

What is done is noted in OUT/NAME.loop.json as it goes, so that the same command, given again after a kill, goes on.
The note goes when the loop has come to its end; the next time it begins anew, with what the gallery holds then.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.progress import Progress
from umbel_client import ApiError, Job, Model, Umbel

from cli.bars import say_above
from cli.follow import follow
from cli.models import latest_reindex
from cli.train.gallery import fetch_labelled, name_by_gallery, remarks
from cli.train.run import TrainingRun
from ml.card import card_path, read_card
from ml.training.files import RunFiles
from umbel.base.errors import BadCheckpoint, ModelNotFound
from umbel.base.fingerprint import fingerprint
from umbel.base.replacing import replacing

ENDED_BADLY = ("failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Plan:
    """From which pictures (those of `collection`, else of `folders`), and how far to go."""

    folders: Sequence[Path]
    collection: str | None
    register: bool
    reindex: bool
    activate: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """training: the report of the run; model: as it is in the end; job: the last reindex with it."""

    training: dict[str, Any]
    model: Model | None = None
    job: Job | None = None

    def reached(self, plan: Plan) -> bool:
        """Whether it came to the end that was asked for."""
        if self.model is not None and plan.activate:
            return self.model.state == "active"
        return self.job is None or self.job.status not in ENDED_BADLY

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        found = {"model": self.model, "reindex": self.job}
        return self.training | {name: one.as_dict() for name, one in found.items() if one}


class Note:
    """What the loop has done so far, on disk."""

    def __init__(self, path: Path, arguments: Sequence[Any], *, fresh: bool) -> None:
        """arguments: what makes the loop this loop; what is noted of another is forgotten."""
        self._path, self._loop = path, fingerprint({"arguments": arguments})
        known = json.loads(path.read_text()) if path.is_file() and not fresh else {}
        self._done: dict[str, Any] = known if known.get("loop") == self._loop else {"loop": self._loop}

    def get(self, step: str) -> Any:
        return self._done.get(step)

    def write(self, step: str, value: Any) -> None:
        self._done[step] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as partial:
            partial.write_text(json.dumps(self._done))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Loop:
    """One way through."""

    api: Umbel
    plan: Plan
    training: TrainingRun
    note: Note
    bars: Progress

    @property
    def files(self) -> RunFiles:
        return self.training.files

    def run(self) -> Outcome:
        """To the end of the plan. Raises what each step raises."""
        training = self._trained()
        model = self._registered() if self.plan.register else None
        job = None
        if model and self.plan.reindex:
            job = self._reindexed(model)
            model = self.api.models.get(model.id)
        if job is None or job.status not in ENDED_BADLY:
            self.note.remove()
        return Outcome(training, model, job)

    def _trained(self) -> dict[str, Any]:
        training: dict[str, Any] | None = self.note.get("training")
        if training and self._is_there(training["card"]["weights_sha256"]):
            return training
        folders = [self._fetched(self.plan.collection)] if self.plan.collection else self.plan.folders
        training = self.training.learn(folders, self.bars)
        if self.plan.collection:
            name_by_gallery(self.files.split)
        self.note.write("training", training)
        return training

    def _is_there(self, weights_sha256: str) -> bool:
        try:
            return read_card(self.files.checkpoint).weights_sha256 == weights_sha256
        except (ModelNotFound, BadCheckpoint):
            return False

    def _fetched(self, collection: str) -> Path:
        """The folder of the collection's pictures. Left as it is while a training with them is unfinished."""
        folder = self.files.out / f"{self.files.name}.pictures" / collection
        if self.note.get("fetched") and self.files.state.exists():
            return folder
        fetched = fetch_labelled(self.api, collection, folder, self.bars)
        for line in remarks(fetched):
            say_above(self.bars, line)
        self.note.write("fetched", fetched.images)
        return folder

    def _registered(self) -> Model:
        task = self.bars.add_task("Registering", total=1, note="")
        model = self.api.models.register(self.files.checkpoint, card_path(self.files.checkpoint), self.files.split)
        self.bars.update(task, completed=1)
        return model

    def _reindexed(self, model: Model) -> Job | None:
        """The reindex, at its end; None where there was none: the training came to the very model that is active."""
        job_id = self.note.get("job")
        job = self.api.jobs.get(UUID(job_id)) if job_id else None
        if job is None or job.status in ENDED_BADLY:
            if model.state == "active":
                return latest_reindex(self.api, model.id)
            job = self._begun(model)
            self.note.write("job", str(job.id))
        return follow(self.api, job, self.bars)

    def _begun(self, model: Model) -> Job:
        """A new reindex, or the one under way if it is this very one; one that asks for less is let end first."""
        wish: dict[str, Any] = {"activate": True, "max_drop": 0} if self.plan.activate else {}
        while True:
            try:
                return self.api.admin.reindex(model_version=model.id, **wish).job()
            except ApiError as error:
                running = latest_reindex(self.api, model.id)
                if error.status != 409 or running is None or running.finished or running.reindex is None:
                    raise
                if not self.plan.activate or (running.reindex.activate and running.reindex.max_drop == 0):
                    return running
                follow(self.api, running, self.bars)
