"""`umbel sql`: psql as a user who can read, on the embedded database or another, and JSON for machines."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.postgres import Postgres
from tests.command_line import umbel_here
from tests.integration.factory import Factory, unit
from tests.processes import UMBEL
from umbel.base.database import transaction
from umbel.base.settings import settings

ME = "SELECT current_user || ' for at most ' || current_setting('statement_timeout')"


@pytest.fixture
def gallery(database: None) -> None:
    with transaction() as session:
        make = Factory(session)
        version = make.version()
        for seed, label in enumerate(("rose", "rose", "tulip"), 1):
            make.image(vector=unit(seed), version=version, label=label, meta={"seed": seed})


def umbel_sql(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [*UMBEL, "sql", *arguments]
    changed = {**os.environ, "PSQLRC": os.devnull, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=changed, input=stdin)


def test_psql_opens_as_the_reader(gallery: None) -> None:
    seen = umbel_sql("-At", stdin=f"{ME};\nSELECT label, count(*) FROM images GROUP BY 1 ORDER BY 1;\n\\dv\n")
    assert (seen.returncode, seen.stderr) == (0, "")
    lines = seen.stdout.splitlines()
    assert lines[:3] == ["umbel_reader for at most 30s", "rose|2", "tulip|1"]
    assert [line.split("|")[:2] for line in lines[3:]] == [["umbel", view] for view in ("embeddings", "images", "jobs")]


def test_what_psql_takes_goes_to_psql(gallery: None, tmp_path: Path) -> None:
    report = tmp_path / "report.sql"
    report.write_text("SELECT label, count(*) AS images FROM umbel.images GROUP BY label ORDER BY label")
    assert umbel_sql("--csv", "-f", str(report)).stdout == "label,images\nrose,2\ntulip,1\n"
    assert umbel_sql("-Atc", "SELECT 1", "-c", "SELECT 2").stdout == "1\n2\n"


def test_the_reader_is_refused_and_the_owner_is_not(gallery: None) -> None:
    rejected = umbel_sql("-c", "SELECT count(*) FROM public.image")
    assert (rejected.returncode, "permission denied for table image" in rejected.stderr) == (1, True)
    assert umbel_sql("--owner", "-Atc", "SELECT current_user, count(*) FROM public.image").stdout == "umbel|3\n"


def test_rows_as_json(gallery: None) -> None:
    asked = """
        SELECT label, metadata, sha256, created_at, vector FROM images JOIN embeddings USING (image_id)
        ORDER BY metadata LIMIT 1
    """
    (row,) = json.loads(umbel_here("sql", "--json", "-c", asked).stdout)
    assert (row["label"], row["metadata"]) == ("rose", {"seed": 1})
    assert row["sha256"].startswith("\\x")
    assert row["created_at"].endswith("+00:00")
    assert len(json.loads(row["vector"])) == len(unit(1))
    assert json.loads(umbel_here("sql", "--json", "-c", "SET work_mem = '8MB'").stdout) == []


def test_an_error_is_one_line(postgres: Postgres) -> None:
    seen = umbel_here("sql", "--json", "-c", "SELECT nothing FROM nowhere")
    assert (seen.returncode, seen.stdout, seen.stderr) == (1, "", 'umbel: relation "nowhere" does not exist\n')


@pytest.mark.parametrize("arguments", [("--json",), ("--json", "-c", "SELECT 1", "-c", "SELECT 2"), ("--json", "-At")])
def test_json_wants_one_command(arguments: tuple[str, ...]) -> None:
    seen = umbel_here("sql", *arguments)
    assert (seen.returncode, "Usage: " in seen.stderr) == (2, True)


@pytest.mark.direct
def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    answers = [
        umbel_sql(UMBEL_HOME=str(tmp_path)),
        umbel_here("sql", "--json", "-c", "SELECT 1", UMBEL_HOME=str(tmp_path)),
    ]
    for seen in answers:
        assert (seen.returncode, seen.stdout, seen.stderr.count("\n")) == (1, "", 1)
        assert "umbel up" in seen.stderr


def test_another_database_than_the_embedded_lets_its_user_become_the_reader(gallery: None) -> None:
    seen = umbel_sql("-At", "-c", ME, "-c", "SELECT count(*) FROM images", UMBEL_DATABASE_URL=settings().database)
    assert seen.stdout == "umbel_reader for at most 30s\n3\n"
    seen = umbel_sql("--owner", "-Atc", "SELECT current_user", UMBEL_DATABASE_URL=settings().database)
    assert seen.stdout == "umbel\n"


@pytest.fixture
def stranger(postgres: Postgres) -> Iterator[str]:
    """The URL of a user who may not become the reader, with a password that nobody should see."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE stranger LOGIN")
        yield postgres.url(user="stranger:s3cret")
        connection.execute("DROP ROLE stranger")


@pytest.mark.direct
def test_who_may_not_become_the_reader_is_told_how(stranger: str) -> None:
    seen = umbel_sql(UMBEL_DATABASE_URL=stranger)
    assert (seen.returncode, seen.stderr.count("\n")) == (1, 1)
    assert "GRANT umbel_reader TO stranger" in seen.stderr


@pytest.mark.direct
def test_a_password_is_on_no_command_line(stranger: str) -> None:
    shown = r"\! tr '\0' ' ' < /proc/$PPID/cmdline; echo $PGPASSWORD"
    seen = umbel_sql("--owner", "-c", shown, UMBEL_DATABASE_URL=stranger)
    command, password = seen.stdout.rsplit(maxsplit=1)
    assert (password, "s3cret" in command, "psql" in command) == ("s3cret", False, True)
