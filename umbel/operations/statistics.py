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
SELECT name, (SELECT count(*) FROM image WHERE collection_id = collection.id) FROM collection WHERE deleted_at IS NULL
"""
PENDING = """
SELECT queue, (SELECT count(*) FROM job_item WHERE state = 'pending' AND job_item.queue = queues.queue)
FROM (VALUES ('single'), ('bulk'), ('fetch'), ('compare'), ('delete'), ('reindex')) AS queues(queue)
"""
OLDEST = """
SELECT queue, extract(epoch FROM now() - min(created_at)) FROM job_item WHERE state = 'pending' GROUP BY queue
"""
RECALL = """
SELECT DISTINCT ON (k) k::text, recall FROM recall_report
WHERE model_version_id = (SELECT id FROM model_version WHERE state = 'active') ORDER BY k, recall_report.id DESC
"""
SOURCES = """
SELECT states.state, count(source.job_id) FROM (VALUES ('reachable'), ('unreachable')) AS states(state)
LEFT JOIN (
    SELECT s.job_id, CASE WHEN s.error IS NULL THEN 'reachable' ELSE 'unreachable' END AS state
    FROM import_source s JOIN job ON job.id = s.job_id WHERE job.status IN ('queued', 'running')
) source USING (state) GROUP BY 1
"""
SILENCE = "SELECT name, extract(epoch FROM now() - seen_at) FROM worker"
IDLE = "SELECT name, extract(epoch FROM now() - progress_at) FROM worker"
BROKER_CONNECTED = "SELECT name, broker_connected::int FROM worker"

FIGURES = (
    Figure("umbel_images", "Images by collection.", "collection", IMAGES),
    Figure("umbel_jobs", "Jobs by status.", "status", "SELECT status, count(*) FROM job GROUP BY 1"),
    Figure("umbel_items_pending", "Pending items, by queue.", "queue", PENDING),
    Figure("umbel_oldest_item_seconds", "Age of the oldest pending item.", "queue", OLDEST),
    Figure("umbel_import_sources", "Sources of unfinished imports: reachable or unreachable.", "state", SOURCES),
    Figure("umbel_index_recall", "Recall of the index at its last measurement, by k.", "k", RECALL),
    Figure("umbel_worker_silence_seconds", "Time since a worker's last heartbeat.", "worker", SILENCE),
    Figure("umbel_worker_idle_seconds", "Time since a worker finished an item or had none to do.", "worker", IDLE),
    Figure("umbel_worker_broker_connected", "Whether a worker reaches Redis: 1 or 0.", "worker", BROKER_CONNECTED),
)
