"""Whatever is done to collections and in what order: people see what they should, and nothing is left in the end."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.examples import examples
from tests.images import image_bytes
from tests.integration.scene import Silent
from tests.integration.test_ledger import counts, recount
from tests.integration.uploads import add_image
from umbel.base.blobs import Blobs
from umbel.base.errors import Conflict, InvalidInput, NotFound
from umbel.base.settings import settings as umbel_settings
from umbel.base.types import ItemState, JobType, Queue
from umbel.gallery import images
from umbel.gallery.deletion import DeletionHandler, begin_deletion
from umbel.gallery.images import remove_image
from umbel.gallery.upload import Upload
from umbel.imports import entries
from umbel.imports.entries import NewEntry
from umbel.imports.imports import open_import
from umbel.jobs import claims, items, jobs
from umbel.operations import job_actions, maintenance

NAMES = ("garden", "meadow")


class History:
    """Two collections, what may happen to them by name, and what people should see of it."""

    def __init__(self, session: Session, blobs: Blobs) -> None:
        self.session, self.blobs = session, blobs
        self.seen: dict[tuple[str, int], UUID] = {}
        self.imports: list[UUID] = []
        self.line = DeletionHandler(transaction=self.transaction, blobs=blobs)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with self.session.begin_nested():
            yield self.session

    def upload(self, name: str, seed: int) -> None:
        accepted = add_image(self.transaction, self.blobs, umbel_settings(), Upload(image_bytes(seed), name))
        assert self.seen.setdefault((name, seed), accepted.image_id) == accepted.image_id

    def upload_into_import(self, name: str, seed: int) -> None:
        for job_id in self.imports[-1:]:
            upload = Upload(image_bytes(seed), name, job_id=job_id)
            with suppress(Conflict, NotFound, InvalidInput):  # closed, gone, into another collection
                accepted = add_image(self.transaction, self.blobs, umbel_settings(), upload)
                assert self.seen.setdefault((name, seed), accepted.image_id) == accepted.image_id

    def open_import(self, name: str, _: int) -> None:
        self.imports.append(open_import(self.session, name))

    def list_entries(self, *_: object) -> None:
        for job_id in self.imports[-1:]:
            if self.session.scalar(text("SELECT id FROM job WHERE id = :id AND NOT closed"), {"id": job_id}):
                entries.insert_entries(self.session, job_id, [NewEntry("a", "0"), NewEntry("b", "1")])

    def compare_all(self, *_: object) -> None:
        job_id = jobs.insert_job(self.session, JobType.COMPARISON, collection_id=None, closed=True)  # type: ignore[arg-type]
        for image_id in self.seen.values():
            items.insert_item(self.session, job_id, image_id=image_id, queue=Queue.COMPARE, name=None)

    def work(self, *_: object) -> None:
        for queue in (Queue.SINGLE, Queue.BULK, Queue.COMPARE):
            claimed = claims.claim_items(self.session, queue, owner="me", limit=2, lease_seconds=60)
            items.finish_items(self.session, [item.id for item in claimed[:1]], ItemState.INDEXED)
            items.fail_items(self.session, {item.id: ("broken", "") for item in claimed[1:]})

    def remove_image(self, name: str, seed: int) -> None:
        image_id = self.seen.pop((name, seed), None)
        if image_id is not None:
            remove_image(self.transaction, self.blobs, image_id)

    def retry(self, *_: object) -> None:
        for job_id in self.session.scalars(text("SELECT id FROM job ORDER BY id")).all():
            with suppress(Conflict):
                job_actions.retry_job(self.transaction, Silent(), job_id)  # type: ignore[arg-type]

    def cancel(self, *_: object) -> None:
        for job_id in self.session.scalars(text("SELECT id FROM job ORDER BY id")).all():
            with suppress(Conflict):
                job_actions.cancel_job(self.transaction, job_id)

    def delete(self, name: str, _: int) -> None:
        with suppress(NotFound):
            begin_deletion(self.transaction, Silent(), name)  # type: ignore[arg-type]
        self.seen = {place: image_id for place, image_id in self.seen.items() if place[0] != name}

    def delete_images(self, *_: object) -> None:
        self.line._delete_images()

    def go_on(self, *_: object) -> None:
        self.line._go_on()


ACTIONS = [name for name in vars(History) if not name.startswith("_") and name != "transaction"]
STEPS = st.tuples(st.sampled_from(ACTIONS), st.sampled_from(NAMES), st.integers(0, 2))


@examples(30)
@given(st.lists(STEPS, max_size=25))
def test_what_is_seen_is_right_and_nothing_is_left_after_any_history(
    session: Session, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    with session.begin_nested() as savepoint:
        history = History(session, Blobs(tmp_path_factory.mktemp("blobs").as_uri()))
        for action, name, seed in steps:
            getattr(history, action)(name, seed)
            check(session, history)
        history.line.run()
        check(session, history)
        session.execute(text("UPDATE pending_blob_cleanup SET since = '-infinity'"))  # of uploads that were refused
        maintenance.tidy_blobs(history.transaction, history.blobs)
        left = session.execute(text("SELECT id, blob_key FROM image")).all()
        assert {row.id for row in left} == set(history.seen.values())
        assert {blob.key for blob in history.blobs.list("pictures")} == {row.blob_key for row in left}
        for none in (
            "SELECT id FROM collection WHERE deleted_at IS NOT NULL",
            "SELECT id FROM pending_blob_cleanup",
            "SELECT id FROM job WHERE type = 'deletion' AND (finished_at IS NULL OR status <> 'succeeded')",
        ):
            assert session.execute(text(none)).all() == []
        savepoint.rollback()


def check(session: Session, history: History) -> None:
    listed = images.list_images(session, collection=None, label=None, before=None, limit=99)
    assert {image.id for image in listed} == set(history.seen.values())
    for job_id in session.scalars(text("SELECT id FROM job")).all():
        assert counts(session, job_id) == recount(session, job_id)
