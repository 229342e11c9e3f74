"""Imports that workers read themselves, jobs that can be held and cancelled, blobs in doubt, indexes built later.

Revision: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# An item may be there before its picture is: listed from a source, `locator` says where to read it. It moves from the
# queue `fetch` to the queue `bulk` when its bytes are stored. A held item belongs to a paused job.
ITEMS = """
ALTER TABLE job_item
    DROP CONSTRAINT job_item_queue_check,
    ADD CHECK (queue IN ('single', 'bulk', 'fetch')),
    ADD locator  text,
    ADD label    text,
    ADD metadata jsonb,
    ADD held     boolean NOT NULL DEFAULT false;
DROP INDEX job_item_pending;
CREATE INDEX job_item_pending ON job_item (queue, attempts, id) WHERE state = 'pending' AND NOT held;
"""

JOBS = """
ALTER TABLE job
    DROP CONSTRAINT job_type_check,
    ADD CHECK (type IN ('upload', 'import', 'repair')),
    ADD paused     boolean NOT NULL DEFAULT false,
    ADD cancelling boolean NOT NULL DEFAULT false,  -- asked for; the sweep finishes what was interrupted
    ADD indexing   boolean NOT NULL DEFAULT false;  -- it waits for an HNSW index that is built after the load
ALTER TABLE job ALTER COLUMN status SET EXPRESSION AS (
    CASE WHEN pending > 0 OR NOT closed OR indexing THEN CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END
         WHEN cancelled > 0 OR cancelling THEN 'cancelled'
         WHEN failed = total AND (failed > 0 OR error IS NOT NULL) THEN 'failed'
         WHEN failed > 0 OR error IS NOT NULL THEN 'partial'
         ELSE 'succeeded' END);
CREATE INDEX job_at_work ON job (id) WHERE indexing OR cancelling OR paused;

CREATE OR REPLACE FUNCTION job_times() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_at := now();
    NEW.finished_at := CASE WHEN NEW.closed AND NEW.pending = 0 AND NOT NEW.indexing
                            THEN coalesce(NEW.finished_at, now()) END;
    RETURN NEW;
END $$;

-- What a worker reads an import from, and how far it has come. position: of the last entry that was listed.
CREATE TABLE import_source (
    job_id            uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    spec              jsonb NOT NULL,
    label_from_folder boolean NOT NULL,
    dry_run           boolean NOT NULL,
    position          text,
    listed            integer NOT NULL DEFAULT 0,
    rejected           integer NOT NULL DEFAULT 0,
    skipped       integer NOT NULL DEFAULT 0,
    done              boolean NOT NULL DEFAULT false
);
CREATE INDEX import_source_open ON import_source (job_id) WHERE NOT done;
"""

# A note is made before bytes are written, and goes with the transaction that makes them somebody's. One that stays
# tells of bytes that may be nobody's: the sweep looks.
BLOBS = """
CREATE TABLE pending_blob_cleanup (
    id       uuid PRIMARY KEY DEFAULT uuidv7(),
    blob_key text NOT NULL,
    since    timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    for part in (ITEMS, JOBS, BLOBS):
        op.execute(part)


def downgrade() -> None:
    # What the older schema has no words for: items without a picture, and the jobs that wait for them.
    op.execute("""
        UPDATE job SET closed = true, indexing = false;
        UPDATE job_item SET state = 'cancelled', finished_at = now(), lease_owner = NULL, lease_until = NULL
        WHERE queue = 'fetch' AND state = 'pending';
        UPDATE job_item SET queue = 'bulk' WHERE queue = 'fetch';
        UPDATE job SET type = 'import' WHERE type = 'repair';
        DROP TABLE import_source, pending_blob_cleanup;
        CREATE OR REPLACE FUNCTION job_times() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.changed_at := now();
            NEW.finished_at := CASE WHEN NEW.closed AND NEW.pending = 0 THEN coalesce(NEW.finished_at, now()) END;
            RETURN NEW;
        END $$;
        ALTER TABLE job ALTER COLUMN status SET EXPRESSION AS (
            CASE WHEN pending > 0 OR NOT closed THEN CASE WHEN started_at IS NULL THEN 'queued' ELSE 'running' END
                 WHEN cancelled > 0 THEN 'cancelled'
                 WHEN failed > 0 AND failed = total THEN 'failed'
                 WHEN failed > 0 THEN 'partial'
                 ELSE 'succeeded' END);
        DROP INDEX job_at_work;
        ALTER TABLE job DROP COLUMN paused, DROP COLUMN cancelling, DROP COLUMN indexing,
            DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import'));
        DROP INDEX job_item_pending;
        ALTER TABLE job_item DROP COLUMN locator, DROP COLUMN label, DROP COLUMN metadata, DROP COLUMN held,
            DROP CONSTRAINT job_item_queue_check, ADD CHECK (queue IN ('single', 'bulk'));
        CREATE INDEX job_item_pending ON job_item (queue, attempts, id) WHERE state = 'pending';
    """)
