"""Databases of former versions (tests/fixtures/) are brought to the present schema, and are all that they were."""

import gzip
import json
import subprocess
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from stack.binaries import postgres_client
from stack.postgres import Postgres
from umbel.base import schema
from umbel.base.database import engine_of
from umbel.operations import statistics
from umbel.search.nearest import Scope, nearest_images

DUMPS = sorted((Path(__file__).parents[1] / "fixtures").glob("*.sql.gz"))


@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.name.partition(".")[0])
def test_a_former_database_answers_as_it_did(dump: Path, empty_database: str, postgres: Postgres) -> None:
    place = ["--host", str(postgres.socket_dir), "--username", "umbel"]
    command = [postgres_client("psql"), *place, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "migrated"]
    subprocess.run(command, input=gzip.decompress(dump.read_bytes()), capture_output=True, check=True)
    was = json.loads(dump.with_name(dump.name.replace(".sql.gz", ".json")).read_text())
    schema.upgrade(empty_database)
    schema.check(empty_database)
    with Session(engine_of(empty_database)) as session:
        found = nearest_images(session, None, example=UUID(was["images"][0]), k=5, scope=Scope())
        assert [str(each.image_id) for each in found.matches] == [each["image_id"] for each in was["matches"]]
        similarities = [each["similarity"] for each in was["matches"]]
        assert [1 - each.distance for each in found.matches] == pytest.approx(similarities, abs=1e-4)

        labels = session.execute(text("SELECT label, count(*) FROM umbel.images GROUP BY label"))
        assert {row.label: row.count for row in labels} == was["labels"]
        figures = {figure.name: statistics.count(session, figure) for figure in statistics.FIGURES}
        assert sum(figures["umbel_images"].values()) == len(was["images"])
        jobs = session.execute(text("SELECT status, count(*) FROM job GROUP BY status"))
        assert {status: n for status, n in figures["umbel_jobs"].items() if n} == {
            row.status: row.count for row in jobs
        }

        session.execute(text("UPDATE image SET label = 'new' WHERE id = :id"), {"id": was["images"][0]})
        session.execute(text("DELETE FROM image WHERE id = :id"), {"id": was["images"][1]})
        session.commit()
        told = session.scalars(text("SELECT type FROM event ORDER BY seq")).all()
        assert told == ["image.changed", "image.deleted"]
        [images] = [figure for figure in statistics.FIGURES if figure.name == "umbel_images"]
        assert sum(statistics.count(session, images).values()) == len(was["images"]) - 1
