"""A run: operations drawn by a seed, one after the other, each answer compared with the reference model.

An own driver rather than Hypothesis' state machine: what is looked for comes with age (a ledger of thousands of rows,
versions switched back and forth, processes restarted in between), so one long life is worth more than many short ones,
and shrinking by replay would start a stack for each try. Each operation draws from its own generator, made of the seed
and its number, so that the same seed asks for the same things; only what is picked among what there is depends on how
far the workers were.
"""

import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.target import Target
from tests.model.mismatch import Mismatch, expect
from tests.model.reference import STATES, Collection, Entry, Image, Job, World, status_of
from tests.model.server import Answer, Server
from tests.model.vectors import Vectors

Operation = Callable[["Run", random.Random], str | None]

SETTLE_WAITS = 12  # of up to 20 s: in which a job has ended, although workers are being restarted
TAIL = 12  # operations told in any case
CONCERNING = 25  # of those before that concern the mismatch


class Run:
    """world: what must be there. said: what was done, a line an operation; missed, expected: matches by an index."""

    def __init__(self, target: Target, seed: int, *, tell: Callable[[str], None] = lambda line: None) -> None:
        self.target, self.seed = target, seed
        self.world = World()
        self.server = Server(target.url)
        self.vectors = Vectors(target.ledger, random.Random(seed))
        self.said: list[str] = []
        self.made: Counter[str] = Counter()
        self.spent: defaultdict[str, float] = defaultdict(float)  # seconds
        self.missed = self.searched = 0
        self.pictures = 0  # numbers that were given out
        self.ended: dict[str, float] = {}  # when a part was ended last
        self.neighbors: dict[str, dict[str, dict[str, float]]] = {}  # by version: of each image that was compared
        self.checkpoints: dict[str, Path] = {}
        self.scanned = 10_000  # candidates up to which a search looks at each
        self._tell, self._number = tell, 0

    def go(self, operations: int, drawn: Callable[[random.Random, int], Operation]) -> None:
        """Perform that many. drawn: which one comes next. Raises Mismatch."""
        while self.made.total() < operations:
            self._number += 1
            rng = random.Random(f"{self.seed} {self._number}")
            operation = drawn(rng, self._number)
            self.said.append(f"{self._number:5} {operation.__name__}")
            began = time.monotonic()
            outcome = operation(self, rng)
            self.spent[operation.__name__] += time.monotonic() - began
            if outcome is None:  # there was nothing that it could be done to
                self.said.pop()
                continue
            self.said[-1] = f"{self._number:5} {outcome}"
            self.made[operation.__name__] += 1
            if self.made.total() % 100 == 0:
                slow = sorted(self.spent.items(), key=lambda one: -one[1])[:5]
                told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in slow)
                self._tell(f"{self.made.total():,} operations, {len(self.world.images):,} images; {told}")

    def say(self, what: str) -> None:
        """What is about to be done, in case that it comes to nothing."""
        self.said[-1] = f"{self._number:5} {what}"

    def tail(self, mismatch: Mismatch) -> list[str]:
        """The operations that concern the mismatch, and the last ones."""
        concerns = {*mismatch.concerns, *re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", str(mismatch)[:600])}
        before = [line for line in self.said[:-TAIL] if any(one in line for one in concerns)]
        return [*before[-CONCERNING:], *self.said[-TAIL:]]

    # What the model learns of work in the background.

    def settle(self, *jobs: Job) -> None:
        """Wait until these jobs (unset: all that can end by themselves) have ended, and learn what they came to."""
        for job in jobs or self.world.unfinished():
            if not job.done and not job.gone and job.closed and (jobs or job.type != "reindex"):
                self._settle(job)

    def learn(self) -> None:
        """Look whether images that were pending are indexed by now."""
        for image in list(self.world.pending()):
            answer = self.server.get(f"/v1/images/{image.id}")
            expect(f"GET image {image.id}", answer.status, 200, answer=answer)
            self.see_status(image, answer.body["status"])

    def see_status(self, image: Image, status: str) -> None:
        allowed = {image.state, "indexed"} if image.state == "pending" else {image.state}
        expect(f"the status of image {image.id}", status, *allowed, about=(image.id,))
        image.state = status

    def adopt(self, image_id: str, body: dict[str, Any] | None = None) -> Image | None:
        """An image that may not be known yet: one that an import has brought meanwhile. None if it is gone again.

        body: how it was described just now; unset: the service is asked.
        """
        if image_id in self.world.images:
            return self.world.images[image_id]
        if body is None:
            answer = self.server.get(f"/v1/images/{image_id}")
            if answer.status == 404:
                return None
            body = answer.body
        collection = self.world.collections.get(body["collection"])
        for job in self.world.imports_into(collection) if collection else ():
            for entry in job.entries:
                if entry.sha256 == body["sha256"] and (entry.name, entry.label) == (body["name"], body["label"]):
                    assert collection is not None
                    return self._take(job, entry, collection, image_id, body["status"])
        raise Mismatch(f"image {image_id} is there, which nobody has sent: {body}", image_id)

    def _take(self, job: Job, entry: Entry, collection: Collection, image_id: str, state: str) -> Image:
        assert entry.data is not None
        assert entry.sha256 is not None
        known = collection.images.get(entry.sha256)
        if known is not None and known.id == image_id:
            if state == "cancelled" and (known.state == "indexed" or self.world.others_with(job, entry.sha256)):
                return known  # its bytes came otherwise, too
            known.state = state
            if state != "cancelled":
                known.job = known.job or job
            return known
        described = {"name": entry.name, "label": entry.label, "metadata": entry.metadata}
        image = Image(image_id, collection, entry.sha256, entry.data, **described, job=job, state=state)
        return self.world.add_image(image)

    def _settle(self, job: Job) -> None:
        if job.paused:
            self.resume(job)
        path = f"/v1/jobs/{job.id}"
        for _ in range(SETTLE_WAITS):
            answer = self.server.get(path, params={"wait": 20})
            expect(f"GET job {job.id}", answer.status, 200, answer=answer, about=(job.id,))
            if answer.body["finished_at"]:
                break
        else:
            raise Mismatch(f"{job.type} {job.id} does not end: {answer.body}", job.id)
        self.check_ended(job, answer)
        self._take_items(job)
        job.counts = answer.body["counts"]

    def resume(self, job: Job) -> None:
        """Resume a paused job; one that had nothing left to do has ended."""
        answer = self.server.post(f"/v1/jobs/{job.id}/resume")
        expect(f"resuming job {job.id}", answer.status, *([200, 409] if job.closed else [200]), answer=answer)
        job.paused = False

    def check_ended(self, job: Job, answer: Answer) -> None:
        """Raise Mismatch unless a job's answer says what it must have come to."""
        counts, about = answer.body["counts"], (job.id,)
        expect(f"the total of job {job.id}", counts["total"], sum(counts[s] for s in STATES), answer=answer)
        expect(f"what is pending of job {job.id}", counts["pending"], 0, answer=answer)
        expected = status_of(job, counts, error=answer.body["error"] is not None)
        expect(f"the status of job {job.id}", answer.body["status"], expected, answer=answer, about=about)
        if job.type not in ("upload", "import"):
            return
        entries = 0 if answer.body["source"] and answer.body["source"]["dry_run"] else len(job.entries)
        if not job.loose:
            expect(f"the total of job {job.id}", counts["total"], entries, answer=answer, about=about)
        for state, (least, most) in job.bounds().items() if entries and not job.loose else ():
            if not least <= counts[state] <= most:
                said = f"{counts[state]} {state} of job {job.id}, where the model has {least} to {most}: {counts}"
                raise Mismatch(said, job.id, job.collection and job.collection.name)

    def items(self, job: Job) -> list[dict[str, Any]]:
        """All of a job's items, by pages."""
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = self.server.get(f"/v1/jobs/{job.id}/items", params={"limit": 500, **cursor})
            expect(f"the items of job {job.id}", answer.status, 200, answer=answer, about=(job.id,))
            found += answer.body["items"]
            if not answer.body["next_cursor"]:
                return found
            cursor = {"cursor": answer.body["next_cursor"]}

    def _take_items(self, job: Job) -> None:
        """Learn from an ended job's items what became of its pictures."""
        assert job.collection is not None or job.type in ("deletion", "reindex", "comparison")
        if job.type not in ("upload", "import") or job.collection is None:
            return
        entries: dict[str | None, list[Entry]] = {}
        for entry in job.entries:
            entries.setdefault(entry.name, []).append(entry)
        for item in self.items(job):
            among = entries.get(item["name"], [])
            if not among:
                raise Mismatch(f"job {job.id} has the item {item}, which the model does not know", job.id)
            allowed = set().union(*(entry.outcomes for entry in among)) | ({"cancelled"} if job.cancelled else set())
            if not job.loose:
                expect(f"item {item['name']!r} of job {job.id}", item["status"], *allowed, about=(job.id,))
            if item["image_id"] is None or item["image_id"] in self.world.gone:
                continue
            if item["status"] in ("indexed", "cancelled"):
                self._take(job, among[0], job.collection, item["image_id"], item["status"])
