"""A folder that a sync follows, and the work that a worker does for it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from tests.images import image_bytes
from tests.integration.imports.archives import embed_all
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import Settings, settings
from umbel.changes.bulk import BulkHandler
from umbel.imports.sync.finishing import SyncHandler

LONG_AGO = 1_700_000_000


def end_runs(trash_days: int = 7) -> None:
    """Note what was read, and remove what is gone, as a worker does."""
    SyncHandler(transaction=transaction, wake=lambda _: None).run()
    config = settings().model_copy(update={"trash_days": trash_days})
    BulkHandler(transaction=transaction, settings=config, blobs=blobs(), wake=lambda _: None).run()


@dataclass
class Followed:
    """A folder that a sync follows."""

    api: FlaskClient
    fetch: Callable[..., None]
    folder: Path
    config: Settings
    sync: str = ""
    reads: list[str] = field(default_factory=list)
    _tick: int = 0

    def add(self, **options: Any) -> dict[str, Any]:
        usual = {"source": {"type": "folder", "path": str(self.folder)}, "paused": True, "max_vanished": 1}
        answer = self.api.post("/v1/syncs", json=usual | options)
        assert answer.status_code == 201, answer.text
        self.sync = answer.get_json()["id"]
        return dict(answer.get_json())

    def put(self, name: str, number: int) -> None:
        """The picture of this number at a path, of a time of its own."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(number) if number >= 0 else b"no picture")
        self._tick += 1
        os.utime(path, (LONG_AGO + self._tick, LONG_AGO + self._tick))

    def run(self, **options: Any) -> dict[str, Any]:
        """Run the sync now; what its newest run came to."""
        self.reads.clear()
        begun = self.api.post(f"/v1/syncs/{self.sync}/run", json=options)
        assert begun.status_code == 202, begun.text
        self.work()
        last: dict[str, Any] = self.api.get(f"/v1/syncs/{self.sync}").get_json()["last_run"]
        assert last["job_id"] == begun.get_json()["job_id"]
        return last

    def work(self) -> None:
        self.fetch(config=self.config)
        end_runs()
        embed_all()

    def report(self, **options: Any) -> dict[str, int]:
        """What is not zero of the report of a run."""
        return {name: value for name, value in self.run(**options)["report"].items() if value}

    def images(self, collection: str = "default") -> dict[str, dict[str, Any]]:
        found = self.api.get("/v1/images", query_string={"collection": collection, "limit": 100}).get_json()["items"]
        return {image["name"]: image for image in found}

    def trash(self) -> set[str]:
        return {image["name"] for image in self.api.get("/v1/trash").get_json()["items"]}
