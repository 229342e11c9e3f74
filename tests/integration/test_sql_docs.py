"""docs/sql.md is true: every query on it runs, for the one whom it says, and finds something."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import text

from stack.postgres import Postgres
from tests.integration.factory import Factory, unit
from umbel.base.database import transaction

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```sql ?(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
QUERIES = [sql for role, sql in BLOCKS if not role]
LABELS = ("fogrose", "honeypoppy", "oakeye")


@pytest.fixture
def page(database: None) -> dict[str, str]:
    """For each image that the page names one of a garden that answers its questions, in the order of appearance."""
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        images = []
        for number in range(30):
            # Around the middle of its label; two are labelled as something else than they look like.
            label = LABELS[number % 3] if number not in (10, 20) else "fogrose"
            vector = unit(number % 3) + 0.2 * unit(100 + number)
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            images.append(make.image(vector=vector, version=version, label=label, collection="garden"))
        make.item(make.job())
        session.execute(text("UPDATE job SET type = 'import'"))
    named = dict.fromkeys(re.findall(r"'([0-9a-f]{8}-[0-9a-f-]{27})'", "".join(QUERIES)))
    return dict(zip(named, map(str, (images[0], images[3], images[1])), strict=True))


@pytest.fixture
def alice(postgres: Postgres, page: dict[str, str]) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """The page's colleague, let in as the page says."""
    with postgres.connect(user="umbel") as owner:
        owner.execute(block("owner"))
        try:
            with postgres.connect(user="alice") as connection:
                connection.execute(replaced(block("alice"), page))
                yield connection
        finally:
            with postgres.connect() as admin:
                admin.execute("DROP SCHEMA shop CASCADE; DROP OWNED BY alice; DROP ROLE alice")


def block(role: str) -> str:
    (found,) = [sql for whose, sql in BLOCKS if whose == role]
    return found


def replaced(sql: str, page: dict[str, str]) -> str:
    for named, image in page.items():
        sql = sql.replace(named, image)
    return sql


def test_there_are_twelve_questions() -> None:
    assert re.findall(r"^### (\d+)\.", PAGE, re.MULTILINE) == [str(number) for number in range(1, 13)]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query.split())[:60])
def test_each_query_finds_something(
    postgres: Postgres, alice: "psycopg.Connection[tuple[object, ...]]", page: dict[str, str], query: str
) -> None:
    sql = replaced(query, page).encode()
    assert alice.execute(sql).fetchall()
    if "shop." not in query:
        with postgres.connect(user="umbel_reader") as reader:
            assert reader.execute(sql).fetchall()
