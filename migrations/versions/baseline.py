"""The whole schema before the first release, a file of SQL for each capability.

Revision: baseline
"""

import re
from pathlib import Path

from alembic import op

revision = "baseline"
down_revision = None
branch_labels = None
depends_on = None

BASELINE = Path(__file__).parents[1] / "baseline"
# In the order in which tables refer to each other.
PARTS = ("gallery", "models", "jobs", "embedding", "imports", "reindex", "insights", "access", "search")
CREATED = re.compile(r"^CREATE (?:UNLOGGED )?(TABLE|FUNCTION|VIEW|TYPE|SCHEMA) ([a-z_.]+)", re.MULTILINE)


def upgrade() -> None:
    # Functions that are called as their owner get a path into which no other role can put anything: pg_temp last, or a
    # temporary table could stand in for one of ours.
    op.execute("SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true)")
    for part in _sql():
        op.execute(part)


def downgrade() -> None:
    created = CREATED.findall("".join(_sql()))
    created += [("FUNCTION", name) for name in ("search_by_index", "search_active")]  # made by create_index_search
    # Triggers go with their tables, so functions that only triggers call come after them. Without CASCADE: what
    # other people have built on ours is not dropped with it.
    for kind in ("VIEW", "TABLE", "FUNCTION", "TYPE", "SCHEMA"):
        names = [name for what, name in created if what == kind]
        op.execute(f"DROP {kind} {', '.join(names)}")
    op.execute("""
        DO $do$
        BEGIN
            IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
                EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
            END IF;
        END $do$
    """)


def _sql() -> list[str]:
    return [(BASELINE / f"{part}.sql").read_text() for part in PARTS]
