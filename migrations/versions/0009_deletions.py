"""Collections that are deleted: gone for people at once, removed behind them by a job.

Revision: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0007"
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
    DROP CONSTRAINT job_item_lane_check, ADD CHECK (lane IN ('single', 'bulk', 'fetch', 'compare', 'delete'));
ALTER TABLE job
    DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion'));
CREATE INDEX job_by_collection ON job (collection_id);
"""


def upgrade() -> None:
    for part in (COLLECTION, LEDGER):
        op.execute(part)


def downgrade() -> None:
    # The older schema has no words for a deletion: what was begun is brought to its end. Notes leave the bytes to the
    # sweep, which is there in every version since 0002.
    op.execute("""
        CREATE TEMPORARY TABLE gone ON COMMIT DROP AS SELECT id FROM collection WHERE deleted_at IS NOT NULL;
        INSERT INTO blob_in_doubt (blob_key)
            SELECT blob_key FROM image WHERE collection_id IN (SELECT id FROM gone)
            UNION SELECT s.spec ->> 'blob_key' FROM import_source s JOIN job ON job.id = s.job_id
            WHERE job.collection_id IN (SELECT id FROM gone) AND s.spec ? 'blob_key'
            UNION SELECT i.locator FROM job_item i WHERE i.lane = 'delete' AND i.locator IS NOT NULL;
        DELETE FROM job WHERE type = 'deletion' OR collection_id IN (SELECT id FROM gone);
        DELETE FROM image WHERE collection_id IN (SELECT id FROM gone);
        DELETE FROM collection WHERE deleted_at IS NOT NULL;
        DROP INDEX job_by_collection, collection_deleted, collection_by_name;
        ALTER TABLE collection DROP COLUMN deleted_at, ADD CONSTRAINT collection_name_key UNIQUE (name);
        ALTER TABLE job
            DROP CONSTRAINT job_type_check, ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison'));
        ALTER TABLE job_item
            DROP CONSTRAINT job_item_lane_check, ADD CHECK (lane IN ('single', 'bulk', 'fetch', 'compare'));
    """)
