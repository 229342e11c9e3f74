"""Counts that are kept: images, jobs, pending items, embeddings, compared images.

Revision: 0007

Counts all of these once, while writes wait: some seconds for 500,000 images.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_code = "0005"

# A count is the sum of the changes of its rows. Each statement that changes what is counted adds rows of its own, so no
# transaction waits for another to count; the sweep adds them up (umbel/base/tallies.py).
TABLE = """
CREATE TABLE tally (
    counted text NOT NULL,
    place   text NOT NULL,
    change  bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX tally_by_place ON tally (counted, place) INCLUDE (change);
"""

# What is counted of each table, where, and of which rows.
COUNTED = {
    "image": ("'images'", "collection_id::text", "true"),
    "job": ("'jobs'", "status", "true"),
    "job_item": ("CASE WHEN paused THEN 'paused' ELSE 'pending' END", "queue", "state = 'pending'"),
    "embedding": ("'embedded'", "model_version_id || ' ' || collection_id", "true"),
    "nearest_neighbors": ("'compared'", "model_version_id || ' ' || collection_id", "true"),
}
CHANGING = ("job", "job_item")  # of whose rows what is counted changes

FUNCTION = """
CREATE FUNCTION tally_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tally SELECT {counted}, {place}, count(*) FROM after WHERE {condition} GROUP BY 1, 2;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO tally SELECT {counted}, {place}, -count(*) FROM before WHERE {condition} GROUP BY 1, 2;
    ELSE
        INSERT INTO tally SELECT counted, place, sum(change) FROM (
            SELECT {counted} AS counted, {place} AS place, 1 AS change FROM after WHERE {condition}
            UNION ALL SELECT {counted}, {place}, -1 FROM before WHERE {condition}
        ) each GROUP BY 1, 2 HAVING sum(change) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_inserted AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}();
CREATE TRIGGER tally_deleted AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}();
"""
UPDATED = """
CREATE TRIGGER tally_updated AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}();
"""
COUNT = "INSERT INTO tally SELECT {counted}, {place}, count(*) FROM {table} WHERE {condition} GROUP BY 1, 2;"


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(f"LOCK TABLE {', '.join(COUNTED)} IN SHARE ROW EXCLUSIVE MODE")
    for table, (counted, place, condition) in COUNTED.items():
        statements = FUNCTION + (UPDATED if table in CHANGING else "") + COUNT
        op.execute(statements.format(table=table, counted=counted, place=place, condition=condition))


def downgrade() -> None:
    for table in COUNTED:
        for trigger in ("tally_inserted", "tally_deleted", "tally_updated"):
            op.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {table}")
        op.execute(f"DROP FUNCTION tally_{table}")
    op.execute("DROP TABLE tally")
