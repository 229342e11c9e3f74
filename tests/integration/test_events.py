"""The log of events."""

import pytest
from sqlalchemy import text
from tests.integration.factory import Factory, committed, unit
from umbel.base.database import transaction
from umbel.base.types import ItemState, JobType, Queue
from umbel.events import log
from umbel.jobs import items, jobs

pytestmark = pytest.mark.usefixtures("database", "redis")


def published():
    with transaction() as session:
        while log.publish_events(session):
            pass
        return [(e.type, e.collection, e.data) for e in log.read_events(session, log.ALL, after=0, limit=1000)]


def test_x():
    def gallery(make):
        job = make.job()
        return job, make.item(job), make.image(label="a")

    job, item, image = committed(gallery)
    with transaction() as session:
        session.execute(text("update job_item set attempts=1"))
    with transaction() as session:
        items.finish_items(session, [item], ItemState.INDEXED)
    with transaction() as session:
        session.execute(text("update image set label='b' where id=:i"), {"i": image})
        session.execute(text("delete from image where id=:i"), {"i": image})
    for e in published():
        print(e)
    assert 0
