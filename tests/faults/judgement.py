"""The verdict on a seed: the oracle on a snapshot, the searches, and what Umbel itself finds wrong."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import psycopg
from umbel_client import UmbelClientError

from tests.faults.clients import Clients
from tests.faults.target import Target

SEARCHES = 12
SAME = 0.002  # cosine distance of a picture to itself, through half precision twice

PENDING = """
SELECT format('item %%s of %%s job %%s: queue %%s, %%s attempts, leased to %%s until %%s (now %%s)', i.id, job.type,
              job.id, queue, i.attempts, lease_owner, lease_until, now())
FROM job_item i JOIN job ON job.id = job_id JOIN collection c ON c.id = collection_id
WHERE c.name = %(collection)s AND i.state = 'pending' LIMIT 10
"""
OPEN = """
SELECT format('%%s job %%s is %%s: %%s pending of %%s, closed: %%s', type, job.id, status, pending, total, closed)
FROM job JOIN collection c ON c.id = collection_id
WHERE c.name = %(collection)s AND status IN ('queued', 'running') 
  AND NOT (type = 'import' AND NOT closed AND total = 0
           AND NOT EXISTS (SELECT FROM import_source s WHERE s.job_id = job.id))
LIMIT 10
"""
IN_DOUBT = """
SELECT format('blob %%s is not cleaned up since %%s (now %%s)', blob_key, since, now()) FROM pending_blob_cleanup
WHERE blob_key LIKE %(keys)s
"""


def hanging(connection: "psycopg.Connection[Any]", collection: str) -> list[str]:
    """What is not final, in words: items, jobs, blobs. Empty imports that nobody knows of are the sweep's, in time."""
    values = {"collection": collection, "keys": f"pictures/{collection}/%"}
    return [row[0] for statement in (PENDING, OPEN, IN_DOUBT) for row in connection.execute(statement, values)]


def misfound(clients: Clients, images: Mapping[UUID, bytes], collection: str) -> Iterator[str]:
    """Of {image: its bytes} those that a search for these very bytes does not find."""
    for image_id, data in images.items():
        try:
            found = clients.ask(lambda api, data=data: api.search(data, k=3, collection=collection))  # type: ignore[misc]
        except UmbelClientError as error:
            yield f"searches are refused: {error}"
            return
        distances = {match.image_id: match.distance for match in found.matches}
        if not abs(distances.get(image_id, 2)) <= SAME:
            yield f"image {image_id} does not find itself, but {distances}"


def reconciled(target: Target) -> list[str]:
    """What `umbel reconcile` finds wrong: nothing. What it finds it repairs, so that the next seed starts afresh."""
    done = target.umbel("reconcile", "--json", check=False)
    if done.returncode == 0:
        return []
    target.umbel("reconcile", "--repair", check=False)
    try:
        checks = json.loads(done.stdout)["checks"]
    except ValueError:
        return [f"umbel reconcile: {done.stderr.strip()}"]
    amiss = [check for check in checks if check["found"]]
    return [f"umbel reconcile: {check['code']}, {check['found']} times: {check['examples'][:3]}" for check in amiss]
