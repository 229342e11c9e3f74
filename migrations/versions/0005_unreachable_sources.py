"""Sources of imports that cannot be reached: since when, why, and given up in the end; items are claimed by source.

Revision: 0005
"""

from alembic import op

from migrations import concurrently

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE import_source ADD COLUMN IF NOT EXISTS error text;  -- why it cannot be reached
        ALTER TABLE import_source ADD COLUMN IF NOT EXISTS failing_since timestamptz;
        -- Nothing more is listed or read.
        ALTER TABLE import_source ADD COLUMN IF NOT EXISTS given_up boolean NOT NULL DEFAULT false;
    """)
    waiting = "state = 'pending' AND NOT paused AND queue = 'fetch'"
    concurrently.create_index("job_item_to_fetch", f"ON job_item (job_id, attempts, retries, id) WHERE {waiting}")


def downgrade() -> None:
    op.execute("""
        DROP INDEX job_item_to_fetch;
        ALTER TABLE import_source DROP COLUMN error;
        ALTER TABLE import_source DROP COLUMN failing_since;
        ALTER TABLE import_source DROP COLUMN given_up;
    """)
