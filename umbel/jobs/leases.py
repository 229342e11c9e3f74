"""Leases of a handler, renewed while it gets on.

A lease ends so that others take over from a process that is dead or hangs. One that is only slow, with large pictures
or on a busy machine, keeps what it has: else its pictures would be worked on twice, and in the end fail as poison.
"""

import threading
import time
from collections.abc import Iterable
from uuid import UUID

from umbel.base.database import Transaction
from umbel.base.progress import Progress, progress
from umbel.jobs.claims import renew_leases

RENEWED_AFTER = 1 / 3  # of its length; most items are stored before


class Leases:
    """Those of one handler. owner: the name they carry; seconds: how long one lasts unless it is renewed."""

    def __init__(self, transaction: Transaction, owner: str, seconds: float) -> None:
        self.owner, self.seconds = owner, seconds
        self._transaction = transaction
        # Of this handler alone: what another gets done keeps nothing of it from being taken over.
        self.progress = Progress()
        self._held: dict[UUID, float] = {}  # since when, by time.monotonic()
        self._lock = threading.Lock()

    def hold(self, items: Iterable[UUID]) -> None:
        """Keep the leases of `items`, just claimed, from ending until `let_go`."""
        with self._lock:
            if not self._held:
                self.progress.begin()
            self._held |= dict.fromkeys(items, time.monotonic())
            self._end_if_none()

    def note_progress(self) -> None:
        """This handler has got something done: its leases may be renewed."""
        progress.note()
        self.progress.note()

    def let_go(self, items: Iterable[UUID]) -> None:
        """Done with `items`: what is not stored is anyone's when the lease ends."""
        self.note_progress()
        with self._lock:
            held = bool(self._held)
            for item in items:
                self._held.pop(item, None)
            if held:
                self._end_if_none()

    def let_go_of_all(self) -> None:
        with self._lock:
            if self._held:
                self._held.clear()
                self._end_if_none()

    def _end_if_none(self) -> None:
        if not self._held:
            self.progress.end()

    def renew(self) -> None:
        """Prolong those that were not just taken, if this handler has got something done since the last time."""
        if not self.progress.since_asked():  # what hangs keeps nothing from the others
            return
        now = time.monotonic()
        with self._lock:
            due = [item for item, since in self._held.items() if now - since >= RENEWED_AFTER * self.seconds]
        if not due:
            return
        with self._transaction() as session:
            renew_leases(session, due, owner=self.owner, lease_seconds=self.seconds)
        with self._lock:
            self._held |= {item: now for item in due if item in self._held}
