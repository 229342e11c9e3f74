"""Asks the ledger all the time whether it adds up: what a reader would see at any moment of the storm."""

import threading
import time
from typing import Any, Self

import psycopg

from tests.faults.target import Target

STATES = ("pending", "indexed", "duplicate", "failed", "cancelled")
EVERY_SECONDS = 0.1
COMPLAINTS = 20  # more would say the same

# One statement, so one snapshot; the transaction is REPEATABLE READ all the same. What a job counts beside what its
# items come to, for the jobs where that differs or does not add up.
RECOUNT = f"""
SELECT job.id::text, job.total, {", ".join(f"job.{state}" for state in STATES)},
       {", ".join(f"coalesce(counted.{state}, 0)" for state in STATES)}
FROM job LEFT JOIN (
    SELECT job_id, {", ".join(f"count(*) FILTER (WHERE state = '{state}') AS {state}" for state in STATES)}
    FROM job_item WHERE job_id IN (SELECT job.id FROM job JOIN collection ON collection.id = collection_id
                                   WHERE %(collection)s::text IS NULL OR name = %(collection)s)
    GROUP BY job_id
) counted ON counted.job_id = job.id
WHERE (%(collection)s::text IS NULL OR job.collection_id = (SELECT id FROM collection WHERE name = %(collection)s))
  AND (job.total <> {" + ".join(f"job.{state}" for state in STATES)}
       OR {" OR ".join(f"job.{state} <> coalesce(counted.{state}, 0)" for state in STATES)})
"""


def miscounts(connection: "psycopg.Connection[Any]", collection: str | None = None) -> list[str]:
    """The jobs, of one collection or of all, whose counts are not what their items come to: none, ever."""
    with connection.transaction():
        rows = connection.execute(RECOUNT, {"collection": collection}).fetchall()
    return [
        f"job {job}: total {total}, counts {dict(zip(STATES, both[:5], strict=True))},"
        f" items {dict(zip(STATES, both[5:], strict=True))}"
        for job, total, *both in rows
    ]


class Sampler:
    """A thread that samples while it is entered. samples: how many answers it had; complaints: what was wrong."""

    def __init__(self, target: Target, collection: str) -> None:
        self.samples = 0
        self.complaints: list[str] = []
        self._target, self._collection = target, collection
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(EVERY_SECONDS):
            try:
                with self._target.ledger() as connection:
                    self._sample(connection)
            except psycopg.Error:
                continue  # Postgres is away; nobody can see anything wrong

    def _sample(self, connection: "psycopg.Connection[Any]") -> None:
        while not self._done.wait(EVERY_SECONDS):
            began = time.monotonic()
            wrong = miscounts(connection, self._collection)
            self.samples += 1
            self.complaints += [f"sample {self.samples}: {each}" for each in wrong][: COMPLAINTS - len(self.complaints)]
            self._done.wait(time.monotonic() - began)  # no more than half of a session's time
