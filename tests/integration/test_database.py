"""Statements outside of any session: in one round trip, whole or not at all, and of no consequence for the next."""

from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.database import engine, run_prepared
from umbel.base.errors import NotReady
from umbel.base.locks import only_one
from umbel.base.settings import settings

pytestmark = pytest.mark.usefixtures("database")

INSERT = "INSERT INTO query_image (id, image) VALUES (%s, %s)"


def waiting() -> set[UUID]:
    return {query_id for (query_id,) in run_prepared("SELECT id FROM query_image", [])}


def test_a_statement_is_committed_at_once() -> None:
    query_id = uuid4()
    assert run_prepared(INSERT, [query_id, b"picture"]) == []
    with engine().connect() as other:
        assert other.scalar(text("SELECT image FROM query_image")) == b"picture"


def test_several_are_committed_together_or_not_at_all() -> None:
    one, other = uuid4(), uuid4()
    with pytest.raises(psycopg.errors.UniqueViolation):
        run_prepared(INSERT, (one, b"a"), (other, b"b"), (one, b"c"))
    assert waiting() == set()
    run_prepared(INSERT, (one, b"a"), (other, b"b"))
    assert waiting() == {one, other}


def test_a_failed_statement_leaves_a_connection_that_serves() -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        run_prepared("SELECT 1 / %s", [0])
    assert run_prepared("SELECT 1 / %s", [1]) == [(1,)]
    assert engine().pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.direct
def test_a_connection_that_was_cut_is_replaced() -> None:
    with engine().connect() as other:
        [(backend,)] = run_prepared("SELECT pg_backend_pid()", [])
        other.execute(text("SELECT pg_terminate_backend(:backend, 5000)"), {"backend": backend})
        with pytest.raises(NotReady):
            run_prepared("SELECT 1", [])
    assert run_prepared("SELECT 1", []) == [(1,)]


def test_work_that_one_has_ended_another_may_begin_before_its_connection_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Session, "invalidate", lambda session: None)  # as if Postgres were slow to notice
    with only_one("this test"):
        pass
    with psycopg.connect(settings().database.replace("+psycopg", "")) as another:
        row = another.execute("SELECT pg_try_advisory_lock(hashtext('this test'))").fetchone()
    assert row == (True,)
