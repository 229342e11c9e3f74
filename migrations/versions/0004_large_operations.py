"""Operations on all items of a job go in batches; counting does not lock the job for what changes no count.

Revision: 0004
"""

from alembic import op

from migrations import concurrently

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
oldest_code = "0003"  # all columns that it writes are there, and have a default

COLUMNS = """
    -- What was asked of the job has yet to reach its items: cancelled, tried again, paused or let go again.
    ALTER TABLE job ADD COLUMN IF NOT EXISTS settling boolean NOT NULL DEFAULT false;
    -- Its failed items are being brought back.
    ALTER TABLE job ADD COLUMN IF NOT EXISTS retrying boolean NOT NULL DEFAULT false;

    -- What a comparison is to list, and how far it is. The job stays open until all is listed.
    CREATE TABLE IF NOT EXISTS comparison (
        job_id   uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
        again    boolean NOT NULL,  -- also what was compared before
        position uuid  -- the last image that was listed
    );
"""

# One row a job and state, however many items a statement changes.
COUNT = """
CREATE OR REPLACE FUNCTION job_count(jobs uuid[], states text[], changes integer[], starts boolean[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Locked in one order, so that two workers finishing items of the same jobs cannot deadlock.
    PERFORM 1 FROM job WHERE id = ANY (jobs) ORDER BY id FOR NO KEY UPDATE;
    UPDATE job SET
        total = job.total + d.total, pending = job.pending + d.pending, indexed = job.indexed + d.indexed,
        duplicate = job.duplicate + d.duplicate, failed = job.failed + d.failed,
        cancelled = job.cancelled + d.cancelled,
        started_at = CASE WHEN d.started THEN coalesce(job.started_at, now()) ELSE job.started_at END,
        -- What comes into a job that is paused, or cancelled, is to be so too.
        settling = job.settling OR (d.pending > 0 AND (job.paused OR job.cancelling))
    FROM (
        SELECT r.job_id, sum(r.change) AS total, bool_or(r.started) AS started,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'pending'), 0) AS pending,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'indexed'), 0) AS indexed,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'duplicate'), 0) AS duplicate,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'failed'), 0) AS failed,
               coalesce(sum(r.change) FILTER (WHERE r.state = 'cancelled'), 0) AS cancelled
        FROM unnest(jobs, states, changes, starts) AS r(job_id, state, change, started)
        GROUP BY r.job_id
    ) d
    WHERE job.id = d.job_id;
END $$;

CREATE OR REPLACE FUNCTION job_item_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM job_count(array_agg(job_id), array_agg(state), array_agg(change), array_agg(state <> 'pending'))
    FROM (SELECT job_id, state, count(*)::integer AS change FROM inserted GROUP BY job_id, state) rows
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

-- What changes no count, such as a lease, does not touch the job, unless it has yet to be said to have started.
CREATE OR REPLACE FUNCTION job_item_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM job_count(array_agg(job_id), array_agg(state), array_agg(change), array_agg(started))
    FROM (
        SELECT job_id, state, sum(change)::integer AS change, bool_or(started) AS started
        FROM (SELECT job_id, state, -1 AS change, false AS started FROM before
              UNION ALL SELECT job_id, state, 1, attempts > 0 OR state <> 'pending' FROM after) each
        GROUP BY job_id, state
    ) rows
    WHERE change <> 0 OR started AND (SELECT started_at IS NULL FROM job WHERE job.id = rows.job_id)
    HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION job_item_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM job_count(array_agg(job_id), array_agg(state), array_agg(change), array_agg(false))
    FROM (SELECT job_id, state, -count(*)::integer AS change FROM deleted GROUP BY job_id, state) rows
    HAVING count(*) > 0;
    RETURN NULL;
END $$;
"""

# Rows that are changed many times over are vacuumed when a hundredth of them is dead, not a fifth: claims and counts
# come past the dead ones. Without a pause between pages, since these tables are small beside the vectors.
QUEUES = ("job", "job_item", "pending_blob_cleanup", "worker")
VACUUM = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_vacuum_cost_delay": "0",
}


def upgrade() -> None:
    op.execute(COLUMNS + COUNT)
    for table in QUEUES:
        op.execute(f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in VACUUM.items())})")
    concurrently.create_index("job_settling", "ON job (id) WHERE settling")


def downgrade() -> None:
    """The functions stay as they are, but for what they say of columns that go."""
    for table in QUEUES:
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(VACUUM)})")
    op.execute(COUNT.replace(SETTLING, ""))
    op.execute("DROP TABLE comparison; ALTER TABLE job DROP COLUMN settling, DROP COLUMN retrying")


SETTLING = """,
        -- What comes into a job that is paused, or cancelled, is to be so too.
        settling = job.settling OR (d.pending > 0 AND (job.paused OR job.cancelling))"""
assert SETTLING in COUNT
