"""Indexes for images whose bytes stay where they are: by their place, and by what was made of them.

Revision: 0022

Built beside running writes; empty, as there are no such images yet.
"""

from alembic import op

from migrations import concurrently

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
oldest_code = "0005"

# A place may be longer than an index takes, so it is hashed.
INDEXES = {
    "image_by_place": "(collection_id, hashtextextended(split_part(blob_key, '#', 3), 0))",
    "image_by_rendition": "(split_part(blob_key, '#', 1))",
}


def upgrade() -> None:
    for name, columns in INDEXES.items():
        concurrently.create_index(name, f"ON image {columns} WHERE starts_with(blob_key, 'in-place/')")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
