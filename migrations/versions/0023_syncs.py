"""Syncs: sources that are followed, their runs, and what each of their files was when it was last read.

Revision: 0023
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLES = """
-- A folder or bucket that is listed every so often; a run is a job with an `import_source`.
CREATE TABLE sync (
    id                uuid PRIMARY KEY DEFAULT uuidv7(),
    collection_id     uuid NOT NULL REFERENCES collection ON DELETE CASCADE,
    spec              jsonb NOT NULL,
    label_from_folder boolean NOT NULL,
    roots             text[],  -- that it may read; NULL: all of the server
    every_seconds     integer NOT NULL CHECK (every_seconds > 0),
    max_vanished      double precision NOT NULL CHECK (max_vanished BETWEEN 0 AND 1),
    adopt             boolean NOT NULL,
    paused            boolean NOT NULL DEFAULT false,
    next_run          timestamptz NOT NULL DEFAULT now(),
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sync_by_collection ON sync (collection_id, id);
CREATE INDEX sync_due ON sync (next_run) WHERE NOT paused;

CREATE TABLE sync_run (
    job_id         uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    sync_id        uuid NOT NULL REFERENCES sync ON DELETE CASCADE,
    allow_vanished boolean NOT NULL,
    again          boolean NOT NULL DEFAULT false,  -- it is listed a second time, as files were missing the first time
    complete       boolean NOT NULL DEFAULT false,  -- listed to the end, so that what was not seen is gone
    position       uuid,  -- the last item whose outcome was noted
    done           boolean NOT NULL DEFAULT false,
    report         jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX sync_run_of_sync ON sync_run (sync_id, job_id);
CREATE INDEX sync_run_unfinished ON sync_run (job_id) WHERE NOT done;

-- The paths of a sync. `image_id` refers to no row: an image that a person removed stays known, so that its file, which
-- did not change, is not read again.
CREATE TABLE sync_file (
    sync_id   uuid NOT NULL REFERENCES sync ON DELETE CASCADE,
    locator   text NOT NULL,
    version   text,  -- that was read; NULL: it is to be read with the next run
    image_id  uuid,
    brought   boolean NOT NULL DEFAULT false,  -- the image is the sync's to remove
    seen      uuid,  -- the last run that found it
    found     text,  -- the version that this run found
    former    uuid[]  -- images that it had before, until a complete run has settled whether they go
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- By a hash: a path may be longer than an index takes.
CREATE UNIQUE INDEX sync_file_by_locator ON sync_file (sync_id, sha256(locator::bytea));
CREATE INDEX sync_file_by_image ON sync_file (image_id);
CREATE INDEX sync_file_former ON sync_file (sync_id) WHERE former IS NOT NULL;
"""
TYPES = (
    "'upload', 'import', 'repair', 'comparison', 'deletion', 'reindex', 'map', 'change', 'removal', 'restoration',"
    " 'purge'"
)


def upgrade() -> None:
    op.execute(TABLES)
    _constrain(f"{TYPES}, 'sync'")


def downgrade() -> None:
    op.execute("DELETE FROM job WHERE type = 'sync'; DROP TABLE sync_file; DROP TABLE sync_run; DROP TABLE sync")
    _constrain(TYPES)


def _constrain(types: str) -> None:
    """NOT VALID: all rows meet the check already, and to go through them would hold up writers."""
    op.execute(
        "ALTER TABLE job DROP CONSTRAINT job_type_check,"
        f" ADD CONSTRAINT job_type_check CHECK (type IN ({types})) NOT VALID"
    )
