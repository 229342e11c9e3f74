"""Jobs that finished long ago go with their items; what tells of images that are there stays."""

from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.integration.factory import Factory
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.types import ItemState, JobType
from umbel.gallery import images
from umbel.operations import maintenance, retention
from umbel.operations.retention import delete_old_jobs

pytestmark = pytest.mark.usefixtures("database")


def old_job(session: Session, make: Factory, *states: ItemState, job_type: JobType = JobType.IMPORT) -> UUID:
    """A job that began a hundred days ago and finished right then, unless an item is pending."""
    job_id = make.job(job_type=job_type)
    for state in states:
        make.item(job_id, state=state)
    session.execute(text("ALTER TABLE job DISABLE TRIGGER job_times"))
    old: UUID = session.execute(
        text("""
            WITH old AS (
                INSERT INTO job (id, type, collection_id, closed, finished_at)
                SELECT uuidv7('-100 days'), type, collection_id, true,
                       CASE WHEN pending = 0 THEN now() - interval '100 days' END
                FROM job WHERE id = :job RETURNING id
            ), moved AS (UPDATE job_item SET job_id = old.id FROM old WHERE job_item.job_id = :job)
            SELECT id FROM old
        """),
        {"job": job_id},
    ).scalar_one()
    session.execute(text("DELETE FROM job WHERE id = :job"), {"job": job_id})
    session.execute(text("ALTER TABLE job ENABLE TRIGGER job_times"))
    return old


def known(table: str, column: str = "id") -> set[UUID]:
    with transaction() as session:
        return set(session.scalars(text(f"SELECT {column} FROM {table}")))


def test_old_jobs_go_and_what_is_still_needed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ITEMS", 2)  # so that one job takes several transactions
    with transaction() as session:
        make = Factory(session)
        gone = [
            old_job(session, make, *[ItemState.INDEXED] * 5),
            old_job(session, make, ItemState.DUPLICATE, job_type=JobType.UPLOAD),
            old_job(session, make),
        ]
        rejected = old_job(session, make, ItemState.FAILED)  # its image was never taken
        session.execute(text("UPDATE job_item SET image_id = NULL WHERE job_id = :job"), {"job": rejected})
        unfinished = old_job(session, make, ItemState.PENDING)
        failed = old_job(session, make, ItemState.INDEXED, ItemState.FAILED)
        shown = old_job(session, make, job_type=JobType.MAP)
        session.execute(
            text("INSERT INTO gallery_map (job_id, done, computed_at) VALUES (:j, true, now())"), {"j": shown}
        )
        recent = make.job()
        make.item(recent, state=ItemState.INDEXED)
    before = known("image")
    assert delete_old_jobs(transaction, 101)
    assert known("job") >= {*gone, rejected}
    assert delete_old_jobs(transaction, 0)  # never
    assert known("job") >= {*gone, rejected}
    with monkeypatch.context() as short:
        short.setattr(retention, "TURNS", 1)
        assert not delete_old_jobs(transaction, 90)
    maintenance.clean_up(transaction, blobs(), settings())
    assert known("job") == {unfinished, failed, shown, recent}
    assert known("job_item", "job_id") == {unfinished, failed, recent}
    assert known("image") == before


def test_why_an_image_could_not_be_embedded_is_told_until_it_is_gone() -> None:
    with transaction() as session:
        old_job(session, Factory(session), ItemState.FAILED)
    delete_old_jobs(transaction, 90)
    [image_id] = known("image")
    with transaction() as session:
        assert images.get_image(session, image_id).status == ItemState.FAILED
        images.delete_images(session, [image_id])
    delete_old_jobs(transaction, 90)
    assert known("job") == set()
