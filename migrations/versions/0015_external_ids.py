"""Images have an id of their sender's own, unique in its collection; their pictures may be replaced.

Revision: 0015

The index is of a column without values yet, built beside running writes: a second for 500,000 images.
"""

from alembic import op

from migrations import concurrently

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
oldest_code = "0005"

NAME = "image_by_external_id"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE image ADD COLUMN IF NOT EXISTS external_id text;
        ALTER TABLE image ADD COLUMN IF NOT EXISTS replaced_at timestamptz;  -- when it got the picture that it has now
        ALTER TABLE job_item ADD COLUMN IF NOT EXISTS external_id text;  -- of an item that was listed
    """)
    # The id first: it is looked for in all collections, too.
    concurrently.create_index(NAME, "ON image (external_id, collection_id) WHERE external_id IS NOT NULL", unique=True)


def downgrade() -> None:
    op.execute(f"""
        DROP INDEX IF EXISTS {NAME};
        ALTER TABLE image DROP COLUMN external_id, DROP COLUMN replaced_at;
        ALTER TABLE job_item DROP COLUMN external_id;
    """)
