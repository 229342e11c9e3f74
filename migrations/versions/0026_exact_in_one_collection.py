"""Exact searches of all collections are planned for all images, also where these are in one collection.

Revision: 0026

Of `<> ALL (ARRAY(…))` the planner takes it that no row passes where all are in one collection. Behind a filter it then
hashed all vectors, a gigabyte of a million, to look up in them the images that pass.
"""

import re
from importlib import import_module

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

NEAREST = import_module("migrations.versions.0024_index_kinds").STATEMENT
EXACT = import_module("migrations.versions.0016_pages_of_searches").STATEMENTS
PRESENT = "NOT IN (SELECT id FROM collection WHERE deleted_at IS NOT NULL)"
CHANGES = (
    (
        "nearest_statement",
        NEAREST,
        "ELSE ' AND",
        f"WHEN kind IS NULL THEN ' AND e.collection_id {PRESENT}'\n         ELSE ' AND",
    ),
    (
        "exact_statement",
        EXACT,
        "<> ALL (ARRAY('\n    'SELECT id FROM collection WHERE deleted_at IS NOT NULL))",
        f"{PRESENT}'\n    '",
    ),
)


def upgrade() -> None:
    for name, text, old, new in CHANGES:
        former = _definition(name, text)
        assert former.count(old) == 1
        op.execute(former.replace(old, new))


def downgrade() -> None:
    for name, text, _, _ in CHANGES:
        op.execute(_definition(name, text))


def _definition(name: str, text: str) -> str:
    found = re.search(rf"CREATE FUNCTION ({name}\(.*?\n\$\$;)", text, re.DOTALL)
    assert found is not None
    return f"CREATE OR REPLACE FUNCTION {found[1]}"
