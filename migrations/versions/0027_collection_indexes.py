"""A search within a collection that has an index of its own follows that one, as one of all images follows theirs.

Revision: 0027

The planner takes the smaller of two indexes that fit. So `search_images` has no more to do than to ask whether it is
there: then the collection's images are not counted first, and the search need not be wider than one of all images.
"""

from importlib import import_module

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
oldest_code = "0005"

SEARCH = import_module("migrations.versions.0024_index_kinds").SEARCH
OWN = """    -- umbel/models/partitions.py names it so.
    own := within IS NOT NULL AND coalesce((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(
        format('collection_%s_%s', replace(within::text, '-', ''), right(version::text, 12)))), false);
"""
CHANGES = (
    ("images bigint; many boolean;", "images bigint; many boolean; own boolean;"),
    ("    restricted := within IS NOT NULL OR", f"{OWN}    restricted := within IS NOT NULL AND NOT own OR"),
    ("within IS NOT NULL AND condition IS NULL THEN", "within IS NOT NULL AND condition IS NULL AND NOT own THEN"),
)

DROP = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relname ~ '^collection_[0-9a-f]{32}_[0-9a-f]{12}$'
    LOOP EXECUTE format('DROP INDEX %s', name); END LOOP;
END $$;
"""


def upgrade() -> None:
    search = SEARCH
    for old, new in CHANGES:
        assert search.count(old) == 1, old
        search = search.replace(old, new)
    op.execute(search)


def downgrade() -> None:
    """The indexes go: code of before would not remove those that it no longer needs."""
    op.execute(DROP + SEARCH)
