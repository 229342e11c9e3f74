"""Model versions beside the live one: kept up to date, judged, switched to, gone back from; and rebuilt indexes.

Revision: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Beside the active version at most one is kept up to date: every new picture costs a worker one forward for each.
VERSIONS = """
ALTER TABLE model_version
    ADD replaced_id          uuid REFERENCES model_version,  -- active before it: where a rollback leads
    ADD retired_at           timestamptz,
    ADD hnsw_m               integer NOT NULL DEFAULT 24 CHECK (hnsw_m BETWEEN 2 AND 100),
    ADD hnsw_ef_construction integer NOT NULL DEFAULT 128
        CHECK (hnsw_ef_construction BETWEEN 4 AND 1000 AND hnsw_ef_construction >= 2 * hnsw_m);
UPDATE model_version SET state = 'registered' WHERE state IN ('backfilling', 'ready');
CREATE UNIQUE INDEX one_standby_model_version ON model_version ((true)) WHERE state IN ('backfilling', 'ready');
"""

# One runs at a time. phase: what it is at, or was when it ended; position: the last image that was listed.
REINDEX = """
CREATE TABLE reindex (
    job_id               uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
    mode                 text NOT NULL CHECK (mode IN ('embeddings', 'index')),
    phase                text NOT NULL
        CHECK (phase IN ('listing', 'embedding', 'indexing', 'evaluating', 'switching', 'done')),
    activate             boolean NOT NULL,
    max_drop             double precision NOT NULL CHECK (max_drop BETWEEN 0 AND 1),
    hnsw_m               integer,
    hnsw_ef_construction integer,
    position             uuid,
    report               jsonb,
    done                 boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX one_reindex ON reindex ((true)) WHERE NOT done;
"""

LEDGER = """
ALTER TABLE job_item DROP CONSTRAINT job_item_queue_check,
    ADD CHECK (queue IN ('single', 'bulk', 'fetch', 'compare', 'delete', 'reindex'));
ALTER TABLE job DROP CONSTRAINT job_type_check,
    ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion', 'reindex'));
"""


def upgrade() -> None:
    for part in (VERSIONS, REINDEX, LEDGER):
        op.execute(part)


def downgrade() -> None:
    # The older schema has no words for reindexes. What they embedded stays, beside the live version.
    op.execute("""
        DROP TABLE reindex;
        DELETE FROM job WHERE type = 'reindex';
        DROP INDEX one_standby_model_version;
        ALTER TABLE model_version DROP COLUMN replaced_id, DROP COLUMN retired_at, DROP COLUMN hnsw_m,
            DROP COLUMN hnsw_ef_construction;
        ALTER TABLE job DROP CONSTRAINT job_type_check,
            ADD CHECK (type IN ('upload', 'import', 'repair', 'comparison', 'deletion'));
        ALTER TABLE job_item DROP CONSTRAINT job_item_queue_check,
            ADD CHECK (queue IN ('single', 'bulk', 'fetch', 'compare', 'delete'));
    """)
