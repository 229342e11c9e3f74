"""What do events cost the transactions that write them?

Run `python -m benchmarks.events_ledger`: Postgres alone, with the triggers that write events and, by turns, with these
disabled. Microseconds an image: of an upload's transaction, of claiming and finishing uploads together, of finishing
the items of an import together; no worker, no picture, no vector. Other work disturbs the least of the blocks least.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from benchmarks.common import interleaved, own_servers, spread, write

TOGETHER = 64  # images
TRIGGERS = {
    "job": ("event_inserted", "event_updated"),
    "job_item": ("event_inserted", "event_updated"),
    "image": ("event_deleted", "event_updated"),
}
IMAGES = text("""
    INSERT INTO image (collection_id, sha256, blob_key, media_type, size, width, height)
    SELECT :collection, sha256(uuid_send(uuidv7())), '-', 'image/jpeg', 1, 1, 1 FROM generate_series(1, :count)
    RETURNING id
""")
ITEMS = text("""
    INSERT INTO job_item (job_id, image_id, queue, state)
    SELECT :job, unnest(CAST(:images AS uuid[])), 'bulk', 'pending'
""")


def switch(connection: Any, *, on: bool) -> None:
    """Have events written, or not."""
    for table, triggers in TRIGGERS.items():
        for trigger in triggers:
            connection.execute(text(f"ALTER TABLE {table} {'ENABLE' if on else 'DISABLE'} TRIGGER {trigger}"))


class Ledger:
    """What is measured, each on images of its own that `prepare` makes."""

    def __init__(self) -> None:
        self._images: Sequence[UUID] = ()
        self._claimed: list[UUID] = []
        self._collection: Any = None

    def prepare(self, name: str) -> None:
        from umbel.base.database import engine, transaction  # noqa: PLC0415 - settings are read at the first use
        from umbel.base.types import JobType, Queue  # noqa: PLC0415
        from umbel.gallery import collections  # noqa: PLC0415
        from umbel.jobs import jobs  # noqa: PLC0415

        with engine().execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            switch(connection, on=name.endswith("with"))
        with transaction() as session:
            self._collection = collections.upsert_collection(session, "default")
            given = {"collection": self._collection, "count": TOGETHER}
            self._images = session.scalars(IMAGES, given).all()
            if name.startswith("import"):
                job = jobs.insert_job(session, JobType.IMPORT, closed=False, collection_id=self._collection)
                session.execute(ITEMS, {"job": job, "images": self._images})
        if name.startswith("import"):
            self._claimed = self._claim(Queue.BULK)
        elif name.startswith("uploads_ended"):
            self._upload(self._images)

    def upload(self) -> None:
        for image_id in self._images:
            self._upload([image_id])

    def end_uploads(self) -> None:
        from umbel.base.types import Queue  # noqa: PLC0415

        self._finish(self._claim(Queue.SINGLE))

    def end_import(self) -> None:
        self._finish(self._claimed)

    def drain(self) -> None:
        """What one work leaves is not the next one's."""
        from umbel.base.types import Queue  # noqa: PLC0415

        while claimed := self._claim(Queue.SINGLE):
            self._finish(claimed)

    def _upload(self, images: Sequence[UUID]) -> None:
        from umbel.base.database import transaction  # noqa: PLC0415
        from umbel.jobs.jobs import NewUpload, insert_uploads  # noqa: PLC0415

        nobody = {"request_id": None, "traceparent": None, "api_key_id": None}
        with transaction() as session:
            insert_uploads(
                session,
                [
                    NewUpload(
                        collection_id=self._collection, image_id=each, name=None, job_id=None, duplicate=False, **nobody
                    )
                    for each in images
                ],
            )

    def _claim(self, queue: Any) -> list[UUID]:
        from umbel.base.database import transaction  # noqa: PLC0415
        from umbel.jobs.claims import claim_items  # noqa: PLC0415

        with transaction() as session:
            return [one.id for one in claim_items(session, queue, owner="benchmark", limit=TOGETHER, lease_seconds=60)]

    def _finish(self, claimed: list[UUID]) -> None:
        from umbel.base.database import transaction  # noqa: PLC0415
        from umbel.base.types import ItemState  # noqa: PLC0415
        from umbel.jobs.items import finish_items  # noqa: PLC0415

        with transaction() as session:
            finish_items(session, claimed, ItemState.INDEXED)


def main() -> None:
    with own_servers():
        ledger = Ledger()

        def ready(name: str) -> None:
            ledger.drain()
            ledger.prepare(name)

        works: dict[str, Callable[[], None]] = {
            "an_upload": ledger.upload,
            "uploads_ended_together": ledger.end_uploads,
            "import_ended_together": ledger.end_import,
        }
        turns = {f"{name}_{way}": work for name, work in works.items() for way in ("with", "without")}
        taken = interleaved(ready, **turns)
        ledger.drain()
        published, seconds = _publish()
        write(
            "events_ledger",
            {
                "images_together": TOGETHER,
                "microseconds_an_image": {
                    name: {way: _micro(taken[f"{name}_{way}"]) for way in ("with", "without")} for name in works
                },
                "publishing_microseconds_an_event": round(1e6 * seconds / published, 1),
            },
        )


def _publish() -> tuple[int, float]:
    """Publish all that was written; how many events, in how many seconds."""
    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.events.log import publish_events  # noqa: PLC0415

    began, count = time.perf_counter(), 0
    while True:
        with transaction() as session:
            some = publish_events(session)
        count += some
        if not some:
            return count, time.perf_counter() - began


def _micro(seconds: list[float]) -> dict[str, float]:
    return {name: round(each, 1) for name, each in spread([1e6 * one / TOGETHER for one in seconds]).items()}


if __name__ == "__main__":
    main()
