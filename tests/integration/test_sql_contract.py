"""The schema `umbel` stays as it is documented, and says what cannot be asked."""

from uuid import uuid4

import pytest
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tests.integration.factory import Factory, unit
from tests.integration.reader import ask
from umbel.embedding import embeddings
from umbel.models import versions
from umbel.models.partitions import partition_name

# What people's queries are built on. To add is harmless; to take away or to change breaks them: say so in CHANGELOG.md.
COLUMNS = {
    "images": "image_id uuid, collection text, label text, metadata jsonb, width integer, height integer,"
    " media_type text, size bigint, sha256 bytea, created_at timestamp with time zone",
    "embeddings": "image_id uuid, collection text, model_version uuid, vector halfvec",
    "jobs": "job_id uuid, type text, collection text, status text, total integer, pending integer, indexed integer,"
    " duplicate integer, failed integer, cancelled integer, attempts integer, model_version uuid,"
    " created_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone",
    "match": "image_id uuid, distance double precision, label text, collection text, metadata jsonb",
}
FUNCTIONS = {
    "nearest(query halfvec, k integer DEFAULT 10, collection text DEFAULT NULL::text) -> SETOF match",
    "similar_images(image_id uuid, k integer DEFAULT 10, max_distance real DEFAULT NULL::real,"
    " collection text DEFAULT NULL::text) -> SETOF match",
}


def test_the_views_have_the_columns_that_they_had(session: Session) -> None:
    rows = session.execute(
        text("""
            SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY attnum)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE c.relnamespace = 'umbel'::regnamespace GROUP BY 1
        """)
    )
    assert dict(tuple(row) for row in rows) == COLUMNS


def test_the_functions_have_the_signatures_that_they_had(session: Session) -> None:
    found = session.scalars(
        text("""
            SELECT proname || '(' || pg_get_function_arguments(oid) || ') -> ' || pg_get_function_result(oid)
            FROM pg_proc WHERE pronamespace = 'umbel'::regnamespace
        """)
    )
    assert set(found) == FUNCTIONS


def test_no_name_of_the_schema_hides_a_table(session: Session) -> None:
    """A database user called `umbel` has this schema first in the search path."""
    both = session.scalars(
        text("SELECT relname FROM pg_class WHERE relnamespace IN ('umbel'::regnamespace, 'public'::regnamespace)")
    ).all()
    assert len(both) == len(set(both))


def test_a_partition_is_made_beside_its_parent(session: Session, make: Factory) -> None:
    version = make.version()
    where = text(
        "SELECT current_schema(), relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass(:name)"
    )
    assert session.execute(where, {"name": partition_name(version.id)}).one() == ("umbel", "public")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("nearest('[1,1,1,1,1,1,1,1]', 0)", "k must be 1 to 10000, not 0"),
        ("nearest('[1,1,1,1,1,1,1,1]', 10001)", "k must be 1 to 10000, not 10001"),
        ("nearest('[1,1,1,1,1,1,1,1]', NULL)", "k must be 1 to 10000, not null"),
        ("nearest('[1,2,3]')", "the query has 3 numbers, the active model's vectors have 8"),
        ("nearest('[0,0,0,0,0,0,0,0]')", "zero vector"),
        ("nearest('[1,1,1,1,1,1,1,1]', collection => 'nowhere')", "there is no collection 'nowhere'"),
        ("similar_images('01990000-0000-7000-8000-000000000000', -1)", "k must be 1 to 10000, not -1"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(session: Session, make: Factory, call: str, message: str) -> None:
    make.version()
    with pytest.raises(DBAPIError) as raised:
        ask(session, call)
    assert message in str(raised.value.orig)


@pytest.mark.parametrize(
    "name", ["x'; DROP TABLE image; --", "' OR true OR '", '"', "%L", "$1", "\\", "default'::text--"]
)
def test_a_collections_name_is_never_sql(session: Session, make: Factory, name: str) -> None:
    image = make.image(vector=unit(1), version=make.version())
    for call in ("nearest('[1,1,1,1,1,1,1,1]', 5, :c)", "similar_images(:i, 5, NULL, :c)"):
        with pytest.raises(DBAPIError, match="there is no collection"):
            ask(session, call, c=name, i=image)
    assert session.scalar(text("SELECT count(*) FROM image")) == 1


def test_an_image_without_an_embedding_has_no_similar_ones(session: Session, make: Factory) -> None:
    make.image(vector=unit(1), version=make.version())
    for image in (make.image(), uuid4(), None):
        assert ask(session, "similar_images(:i)", i=image) == []
    assert ask(session, "nearest(NULL)") == []


def test_without_a_model_views_are_empty_and_functions_say_so(session: Session, make: Factory) -> None:
    make.image(vector=unit(1), version=make.version(active=False))
    assert session.scalar(text("SELECT count(*) FROM umbel.embeddings")) == 0
    for call in ("nearest('[1]')", f"similar_images('{uuid4()}')"):
        with pytest.raises(DBAPIError, match="no model is active yet"):
            ask(session, call)


def test_only_the_active_version_is_shown_and_searched(session: Session, make: Factory) -> None:
    old, new = make.version(), make.version(active=False, dim=4)
    image, other = make.image(vector=unit(1), version=old), make.image(vector=unit(2), version=old)
    collection = make.collection()
    embeddings.upsert_embeddings(session, new.id, [(image, collection)], unit(1, 4)[None])
    assert [row[0] for row in ask(session, "similar_images(:i)", i=image)] == [other]
    versions.activate_version(session, new.id)
    shown = text("SELECT image_id, collection, model_version, vector = CAST(:v AS halfvec) FROM umbel.embeddings")
    rows = session.execute(shown, {"v": HalfVector(unit(1, 4)).to_text()}).all()
    assert rows == [(image, "default", new.id, True)]
    assert ask(session, "similar_images(:i)", i=image) == []
    assert [row[0] for row in ask(session, "nearest('[1,0,0,0]')")] == [image]


def test_a_job_is_shown_with_its_counts(session: Session, make: Factory) -> None:
    job = make.job()
    make.item(job)
    shown = session.execute(text("SELECT job_id, type, collection, status, total, pending FROM umbel.jobs")).one()
    assert shown == (job, "upload", "default", "queued", 1, 1)
