"""Whose request made a job, and when a worker last got something done.

Revision: 0013
"""

from alembic import op

revision = "0013"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE job
            ADD request_id  text,  -- of the request that asked for it; its log lines carry the same
            ADD traceparent text;  -- W3C Trace Context of that request, if it was traced
        ALTER TABLE worker
            ADD progress_at timestamptz NOT NULL DEFAULT now(),  -- something was finished, or nothing was left to do
            ADD broker_connected boolean NOT NULL DEFAULT true;
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE worker DROP COLUMN broker_connected, DROP COLUMN progress_at;
        ALTER TABLE job DROP COLUMN traceparent, DROP COLUMN request_id;
    """)
