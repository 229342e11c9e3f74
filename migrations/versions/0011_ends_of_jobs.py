"""A job is cancelled if that was asked of it, not because an image of it was deleted; an ended job is not paused.

Revision: 0011

The table of jobs is rewritten: about a second for 100,000 of them.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest_code = "0005"

TIMES = """
CREATE OR REPLACE FUNCTION job_times() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := now();
    NEW.finished_at := CASE WHEN NEW.closed AND NEW.pending = 0 AND NOT NEW.indexing
        THEN coalesce(NEW.finished_at, now()) END;
    {more}
    RETURN NEW;
END $$;
"""
MORE = """NEW.was_cancelled := NEW.was_cancelled OR NEW.cancelling;
    NEW.paused := NEW.paused AND NEW.finished_at IS NULL;"""

STATUS = """
ALTER TABLE job ALTER COLUMN status SET EXPRESSION AS (
    CASE WHEN pending > 0 OR NOT closed OR indexing THEN CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END
         WHEN {cancelled} THEN 'cancelled'
         WHEN failed = {tried} AND (failed > 0 OR error IS NOT NULL) THEN 'failed'
         WHEN failed > 0 OR error IS NOT NULL THEN 'partial'
         ELSE 'succeeded' END);
"""
# Asked for, and something of it was; or all that it had is gone.
CANCELLED = "cancelling OR cancelled > 0 AND (was_cancelled OR cancelled = total)"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN was_cancelled boolean NOT NULL DEFAULT false")
    # What has ended as cancelled stays so: nothing tells any more why.
    op.execute("UPDATE job SET was_cancelled = true WHERE cancelling OR cancelled > 0 AND finished_at IS NOT NULL")
    op.execute("UPDATE job SET paused = false WHERE paused AND finished_at IS NOT NULL")
    op.execute(TIMES.format(more=MORE) + STATUS.format(cancelled=CANCELLED, tried="total - cancelled"))


def downgrade() -> None:
    op.execute(STATUS.format(cancelled="cancelled > 0 OR cancelling", tried="total"))
    op.execute(TIMES.format(more="") + "ALTER TABLE job DROP COLUMN was_cancelled")
