"""Notes of damaged images, counts of what imports skipped, and names and labels in one normal form (NFC).

Revision: 0002
"""

from alembic import op

revision = "0002"
down_revision = "baseline"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE image ADD COLUMN note text;  -- what is to be said of a damaged file
        ALTER TABLE import_source ADD COLUMN skipped_by_kind jsonb NOT NULL DEFAULT '{}';  -- counts by suffix
    """)
    for table in ("image", "job_item"):
        for column in ("name", "label"):
            op.execute(f"UPDATE {table} SET {column} = normalize({column}) WHERE {column} IS NOT NORMALIZED")


def downgrade() -> None:
    op.execute("""
        ALTER TABLE image DROP COLUMN note;
        ALTER TABLE import_source DROP COLUMN skipped_by_kind;
    """)
