"""The whole schema before the first release, a file of SQL for each capability.

Revision: baseline
"""

from pathlib import Path

from alembic import op

revision = "baseline"
down_revision = None
branch_labels = None
depends_on = None

BASELINE = Path(__file__).parents[1] / "baseline"
# In the order in which tables refer to each other.
PARTS = ("gallery", "models", "jobs", "embedding", "imports", "reindex", "insights", "access", "search")
TABLES = (
    "web_session, api_key, audit_event, gallery_map, look, neighborhood, recall_report, reindex, import_source,"
    " query_image, worker, job_item, job, embedding, model_version, pending_blob_cleanup, image, collection"
)
SEARCH_FUNCTIONS = "nearest_images, nearest_statement, nearest_through_index, index_reach, check_nearest"
TRIGGER_FUNCTIONS = (
    "job_item_inserted, job_item_updated, job_item_deleted, job_count, job_times, job_announced, query_answered,"
    " query_waits, count_use"
)


def upgrade() -> None:
    # Functions that are called as their owner get a path into which nobody else can put anything: pg_temp last, or a
    # temporary table could stand in for one of ours.
    op.execute("SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true)")
    for part in PARTS:
        op.execute((BASELINE / f"{part}.sql").read_text())


def downgrade() -> None:
    # Without CASCADE: what somebody else has built on ours is not dropped with it.
    op.execute(f"""
        DROP FUNCTION umbel.similar_images, umbel.nearest;
        DROP FUNCTION {SEARCH_FUNCTIONS};
        DROP VIEW umbel.images, umbel.embeddings, umbel.jobs;
        DROP TYPE umbel.match;
        DROP SCHEMA umbel;
        DROP TABLE {TABLES};
        DROP FUNCTION {TRIGGER_FUNCTIONS};
        DO $do$ BEGIN
            IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
                EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
            END IF;
        END $do$;
    """)
