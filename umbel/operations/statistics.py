"""The gallery in figures."""

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session


class Figure(NamedTuple):
    """A gauge by one label, and the statement that gives (label, value)."""

    name: str
    help: str
    label: str
    statement: str


def count(session: Session, figure: Figure) -> dict[str, float]:
    """A figure's values by its label."""
    return {row[0]: float(row[1]) for row in session.execute(text(figure.statement))}


# A statement for each of FIGURES, whose text says what it counts.
IMAGES = """
SELECT name, coalesce(sum(change), 0)
FROM collection LEFT JOIN tally ON counted = 'images' AND place = collection.id::text 
WHERE deleted_at IS NULL GROUP BY collection.id
"""
JOBS = "SELECT place, sum(change) FROM tally WHERE counted = 'jobs' GROUP BY place"
PENDING = """
SELECT queue, coalesce(sum(change), 0)
FROM (VALUES ('single'), ('bulk'), ('fetch'), ('compare'), ('delete'), ('reindex')) AS queues(queue)
LEFT JOIN tally ON counted IN ('pending', 'paused') AND place = queue GROUP BY queue
"""
# The first item of each number of attempts and retries, each found by one look into the index that claims use.
OLDEST = """
WITH RECURSIVE first AS (
    SELECT queue, item.*
    FROM (VALUES ('single'), ('bulk'), ('fetch'), ('compare'), ('delete'), ('reindex')) AS queues(queue), LATERAL (
        SELECT attempts, retries, created_at FROM job_item
        WHERE state = 'pending' AND NOT paused AND job_item.queue = queues.queue ORDER BY attempts, retries, id LIMIT 1
    ) item
    UNION ALL
    SELECT first.queue, item.* FROM first, LATERAL (
        SELECT attempts, retries, created_at FROM job_item
        WHERE state = 'pending' AND NOT paused AND job_item.queue = first.queue
          AND (attempts, retries) > (first.attempts, first.retries) ORDER BY attempts, retries, id LIMIT 1
    ) item
)
SELECT queue, extract(epoch FROM now() - min(created_at)) FROM first GROUP BY queue
"""
RECALL = """
SELECT DISTINCT ON (k) k::text, recall FROM recall_report
WHERE model_version_id = (SELECT id FROM model_version WHERE state = 'active') AND collection IS NULL
ORDER BY k, recall_report.id DESC
"""
SOURCES = """
SELECT states.state, count(source.job_id) FROM (VALUES ('reachable'), ('unreachable')) AS states(state)
LEFT JOIN (
    SELECT s.job_id, CASE WHEN s.error IS NULL THEN 'reachable' ELSE 'unreachable' END AS state
    FROM import_source s JOIN job ON job.id = s.job_id WHERE job.status IN ('queued', 'running')
) source USING (state) GROUP BY 1
"""
SYNCS = """
SELECT states.state, count(s.id) FROM (VALUES ('working'), ('failing'), ('paused')) AS states(state)
LEFT JOIN (
    SELECT sync.id, CASE WHEN sync.paused THEN 'paused' WHEN last.error IS NOT NULL THEN 'failing' ELSE 'working' END
           AS state
    FROM sync LEFT JOIN LATERAL (
        SELECT job.error FROM sync_run r JOIN job ON job.id = r.job_id WHERE r.sync_id = sync.id
        ORDER BY r.job_id DESC LIMIT 1
    ) last ON true
) s USING (state) GROUP BY states.state
"""
OVERDUE = "SELECT id::text, greatest(0, extract(epoch FROM now() - next_run)) FROM sync WHERE NOT paused"
SILENCE = "SELECT name, extract(epoch FROM now() - seen_at) FROM worker"
IDLE = "SELECT name, extract(epoch FROM now() - progress_at) FROM worker"
BROKER_CONNECTED = "SELECT name, broker_connected::int FROM worker"

DELIVERIES = """
SELECT 'pending', count(*) FROM webhook_delivery WHERE state = 'pending'
UNION ALL SELECT 'failed', count(*) FROM webhook_delivery WHERE state = 'failed'
"""
OLDEST_DELIVERY = """
SELECT w.id::text, coalesce(extract(epoch FROM now() - min(d.created_at)), 0)
FROM webhook w LEFT JOIN webhook_delivery d ON d.webhook_id = w.id AND d.state = 'pending' GROUP BY w.id
"""
WEBHOOKS = """
SELECT states.state, count(w.id) FROM (VALUES ('working'), ('failing'), ('disabled')) AS states(state)
LEFT JOIN (
    SELECT id, CASE WHEN disabled_at IS NOT NULL THEN 'disabled' WHEN failures > 0 THEN 'failing' ELSE 'working' END
           AS state
    FROM webhook
) w USING (state) GROUP BY states.state
"""
# Of tables with ten thousand rows or more, as Postgres last counted them.
DEAD = """
SELECT relname, n_dead_tup / (n_live_tup + n_dead_tup)::float8 FROM pg_stat_user_tables
WHERE n_live_tup + n_dead_tup >= 10000 AND pg_table_is_visible(relid)
"""
UNPUBLISHED = "SELECT 'unpublished', count(*) FROM event WHERE position IS NULL"

FIGURES = (
    Figure("umbel_images", "Images by collection.", "collection", IMAGES),
    Figure("umbel_jobs", "Jobs by status.", "status", JOBS),
    Figure("umbel_items_pending", "Pending items, by queue.", "queue", PENDING),
    Figure("umbel_oldest_item_seconds", "Age of the oldest pending item that is not paused.", "queue", OLDEST),
    Figure("umbel_import_sources", "Sources of unfinished imports: reachable or unreachable.", "state", SOURCES),
    Figure("umbel_syncs", "Syncs: working, paused, or failing as their last run says.", "state", SYNCS),
    Figure("umbel_sync_overdue_seconds", "Time since the next run of a sync was due; 0: it is not.", "sync", OVERDUE),
    Figure("umbel_index_recall", "Recall of the index at its last measurement, by k.", "k", RECALL),
    Figure("umbel_worker_silence_seconds", "Time since a worker's last heartbeat.", "worker", SILENCE),
    Figure("umbel_worker_idle_seconds", "Time since a worker finished an item or had none to do.", "worker", IDLE),
    Figure("umbel_events", "Events that wait to be published.", "state", UNPUBLISHED),
    Figure("umbel_webhooks", "Webhooks: working, failing or disabled.", "state", WEBHOOKS),
    Figure("umbel_webhook_deliveries", "Deliveries of events that are kept: pending or failed.", "state", DELIVERIES),
    Figure("umbel_oldest_delivery_seconds", "Age of the oldest pending delivery.", "webhook", OLDEST_DELIVERY),
    Figure("umbel_worker_broker_connected", "Whether a worker reaches Redis: 1 or 0.", "worker", BROKER_CONNECTED),
    Figure("umbel_dead_rows_ratio", "Share of a large table's rows that are dead until a vacuum.", "table", DEAD),
)
