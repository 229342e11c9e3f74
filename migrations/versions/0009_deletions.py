"""Collections that are deleted: gone for people at once, removed behind them by a job.

Revision: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A deleted collection keeps its row until the last of its images is gone. Its name is free again from the beginning.
COLLECTION = """
ALTER TABLE collection ADD deleted_at timestamptz;
ALTER TABLE collection DROP CONSTRAINT collection_name_key;
CREATE UNIQUE INDEX collection_by_name ON collection (name) WHERE deleted_at IS NULL;
CREATE INDEX collection_deleted ON collection (id) WHERE deleted_at IS NOT NULL;
"""

LEDGER = """
ALTER TABLE job_item
    DROP CONSTRAINT job_item_queue_check, ADD CHECK (queue IN ('single', 'bulk', 'fetch', 'compare', 'delete'));
ALTER TABLE job
    DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion'));
CREATE INDEX job_by_collection ON job (collection_id);
"""

# People who query see no more of it than people who ask the API. {present}: what the collection c is asked for.
SQL_CONTRACT = """
CREATE OR REPLACE VIEW umbel.images AS
SELECT i.id AS image_id, c.name AS collection, i.label, i.metadata, i.width, i.height, i.media_type, i.size, i.sha256,
       i.created_at
FROM image i JOIN collection c ON c.id = i.collection_id{present};

CREATE OR REPLACE VIEW umbel.embeddings WITH (security_barrier) AS
SELECT e.image_id, c.name AS collection, e.model_version_id AS model_version, e.vector
FROM embedding e JOIN collection c ON c.id = e.collection_id{present}
WHERE e.model_version_id = (SELECT v.id FROM model_version v WHERE v.state = 'active');
"""

# The parts of two functions that change: {what it was: what it is}.
FUNCTIONS = {
    "nearest_statement": {
        "CASE WHEN within IS NOT NULL THEN format(' AND collection_id = %L', within) END": (
            "CASE WHEN within IS NOT NULL THEN format(' AND collection_id = %L', within) ELSE"
            " ' AND collection_id <> ALL (ARRAY(SELECT id FROM collection WHERE deleted_at IS NOT NULL))' END"
        )
    },
    "nearest_images": {"WHERE c.name = collection_name;": "WHERE c.name = collection_name AND c.deleted_at IS NULL;"},
}
CHANGE = """
DO $do$ DECLARE
    defined CONSTANT text := pg_get_functiondef('{function}'::regproc);
BEGIN
    IF position({before} IN defined) = 0 THEN
        RAISE '{function} is not what this migration changes';
    END IF;
    EXECUTE replace(defined, {before}, {after});
END $do$
"""


def upgrade() -> None:
    for part in (COLLECTION, LEDGER, SQL_CONTRACT.format(present=" AND c.deleted_at IS NULL")):
        op.execute(part)
    _change_functions(forward=True)


def _change_functions(*, forward: bool) -> None:
    for function, changes in FUNCTIONS.items():
        for old, new in changes.items():
            before, after = (_quoted(old), _quoted(new)) if forward else (_quoted(new), _quoted(old))
            op.execute(CHANGE.format(function=function, before=before, after=after))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def downgrade() -> None:
    # The older schema has no words for a deletion: what was begun is brought to its end. Notes leave the bytes to the
    # sweep, which is there in every version since 0002.
    _change_functions(forward=False)
    op.execute(SQL_CONTRACT.format(present=""))
    op.execute("""
        CREATE TEMPORARY TABLE gone ON COMMIT DROP AS SELECT id FROM collection WHERE deleted_at IS NOT NULL;
        INSERT INTO pending_blob_cleanup (blob_key)
            SELECT blob_key FROM image WHERE collection_id IN (SELECT id FROM gone)
            UNION SELECT s.spec ->> 'blob_key' FROM import_source s JOIN job ON job.id = s.job_id
            WHERE job.collection_id IN (SELECT id FROM gone) AND s.spec ? 'blob_key'
            UNION SELECT i.locator FROM job_item i WHERE i.queue = 'delete' AND i.locator IS NOT NULL;
        DELETE FROM job WHERE type = 'deletion' OR collection_id IN (SELECT id FROM gone);
        DELETE FROM image WHERE collection_id IN (SELECT id FROM gone);
        DELETE FROM collection WHERE deleted_at IS NOT NULL;
        DROP INDEX job_by_collection, collection_deleted, collection_by_name;
        ALTER TABLE collection DROP COLUMN deleted_at, ADD CONSTRAINT collection_name_key UNIQUE (name);
        ALTER TABLE job
            DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison'));
        ALTER TABLE job_item
            DROP CONSTRAINT job_item_queue_check, ADD CHECK (queue IN ('single', 'bulk', 'fetch', 'compare'));
    """)
