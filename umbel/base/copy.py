"""Rows by the thousand: binary COPY into a table, or into a staging table of the connection's own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgvector.psycopg import register_vector
from sqlalchemy import text
from sqlalchemy.orm import Session


def copy_rows(session: Session, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY `rows` into `table`; columns: {name: type}, in the order of each row's values.

    Source: PostgreSQL documentation, "COPY", binary format; psycopg 3, "Using COPY TO and COPY FROM".
    """
    connection = session.connection()
    driver = connection.connection.driver_connection
    assert driver is not None
    if "halfvec" in columns.values() and not connection.info.get("knows_vectors"):
        register_vector(driver)
        connection.info["knows_vectors"] = True
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def stage_rows(session: Session, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY `rows` into the temporary table `table`, which is this connection's alone and empty after the commit.

    What was staged there before in this transaction is gone.
    """
    fields = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    session.execute(text(f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({fields}) ON COMMIT DELETE ROWS"))
    session.execute(text(f"DELETE FROM {table}"))  # a batch's worth; TRUNCATE would make the table's files anew
    copy_rows(session, table, columns, rows)
