"""Does anybody notice a reindex? Uploads and searches run beside one, through its switch and back.

Run `python -m benchmarks.reindex [--pictures 10000]`: the real stack as processes, a folder of pictures imported, then
a steady load of 22 requests a second: searches by stored picture, by vector and by a picture sent, and uploads. First
for some time with nothing else going on (idle), then while every picture is embedded by a second model, its index is
built, it is judged and switched to. Latency is counted from when a request was due, so a queue shows.
"""

import argparse
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.common import own_home, whole_stack, write
from benchmarks.images import draw

IMAGES = 2400
RATES = {"similar": 10.0, "vector": 5.0, "picture": 2.0, "upload": 5.0}  # a second, together 22
IDLE_SECONDS = 60.0
CHECKED = 300  # answers whose distances are computed again


@dataclass(frozen=True)
class Answer:
    """kind: of request; due, began, ended: seconds; failed: why, if it did."""

    kind: str
    due: float
    began: float
    ended: float
    body: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None
    query: str | None = None


class Load:
    """Requests at a steady pace, whatever the answers take, until stopped."""

    def __init__(self, url: str, images: list[str], vectors: list[list[float]], pictures: Iterator[bytes]) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=64))
        self._images, self._vectors, self._pictures = images, vectors, pictures
        self._stop = threading.Event()
        self._door = threading.Lock()
        self.answers: list[Answer] = []

    def run(self, until: Callable[[], bool]) -> list[Answer]:
        """The answers to all requests that were due before `until` is true."""
        began, waiting = time.monotonic(), list[Future[Answer]]()
        order = random.Random(1)
        with ThreadPoolExecutor(64) as pool:
            while not until():
                due = began + len(waiting) / sum(RATES.values())
                self._stop.wait(max(0.0, due - time.monotonic()))
                kind = order.choices(list(RATES), list(RATES.values()))[0]
                waiting.append(pool.submit(self._once, kind, due, order.random()))
        return [each.result() for each in waiting]

    def _once(self, kind: str, due: float, pick: float) -> Answer:
        began, query = time.monotonic(), self._images[int(pick * len(self._images))]
        try:
            answer = self._ask(kind, query, pick)
            failed = None if answer.status_code < 300 else f"{answer.status_code} {answer.text[:200]}"
            body = answer.json() if failed is None else {}
        except (httpx.HTTPError, ValueError) as error:
            body, failed = {}, repr(error)
        return Answer(kind, due, began, time.monotonic(), body, failed, query if kind == "similar" else None)

    def _ask(self, kind: str, query: str, pick: float) -> httpx.Response:
        if kind == "similar":
            return self._http.get(f"/v1/images/{query}/similar?k=10")
        if kind == "vector":
            return self._http.post(
                "/v1/search", json={"vector": self._vectors[int(pick * len(self._vectors))], "k": 10}
            )
        with self._door:
            picture = next(self._pictures)
        if kind == "picture":
            return self._http.post("/v1/search", files={"file": ("q.jpg", picture)}, data={"k": "10"})
        return self._http.post("/v1/images", files={"file": ("u.jpg", picture)}, data={"collection": "bulk"})


def variants(folder: Path) -> Iterator[bytes]:
    """New pictures for ever: a JPEG comment more makes other bytes."""
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:500]]
    number = 0
    while True:
        number += 1
        file = files[number % len(files)]
        comment = f"load {number}".encode()
        yield file[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + file[2:]


def candidate(path: Path) -> Path:
    """The shipped model on other pictures: 176 px wide, so another version with nearly the same embeddings."""
    import torch  # noqa: PLC0415

    from ml.card import Provenance  # noqa: PLC0415
    from ml.checkpoint import load_checkpoint, save_checkpoint  # noqa: PLC0415
    from ml.shipped import SHIPPED  # noqa: PLC0415

    network, card = load_checkpoint(SHIPPED)
    with torch.no_grad():
        network.neck.linear.weight *= 1.001  # other bytes, the same directions
    made = Provenance(data=[], start="the shipped model", created_at="2026-01-01T00:00:00Z")
    preprocessing = card.preprocessing.model_copy(update={"size": 176})
    save_checkpoint(path, network, name="candidate", preprocessing=preprocessing, provenance=made)
    return path


def milliseconds(answers: list[Answer]) -> dict[str, dict[str, float]]:
    found = {}
    for kind in ("similar", "vector", "picture", "searches", "upload"):
        some = [a for a in answers if a.kind == kind or (kind == "searches" and a.kind != "upload")]
        times = [1000 * (a.ended - a.due) for a in some]
        found[kind] = {f"p{p}": round(float(np.percentile(times, p)), 1) for p in (50, 95, 99)} | {
            "requests": len(times)
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    asked = parser.parse_args()
    with own_home() as home:
        folder = home / "pictures"
        draw(folder, asked.images, by_species=True)
        os.environ["UMBEL_IMPORT_ROOTS"] = str(folder)
        with whole_stack():
            answer = _answer(folder, home, asked.images)
            write("reindex_large" if asked.images > IMAGES else "reindex", answer)


def _answer(folder: Path, home: Path, pictures: int) -> dict[str, object]:
    from umbel_client import Umbel  # noqa: PLC0415 - settings are read at the first use, so the environment comes first

    from umbel.base.settings import settings  # noqa: PLC0415

    url = f"http://127.0.0.1:{settings().port}"
    with Umbel(url) as api, httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        api.imports.folder(str(folder), collection="bulk", label_from_folder=True).wait()
        images = [image["image_id"] for image in http.get("/v1/images?limit=500").json()["items"]]
        load = Load(url, images, [row.tolist() for row in _vectors(images)], variants(folder))
        load.run(_after(10))  # warms up
        idle = load.run(_after(IDLE_SECONDS))
        files = {"weights": candidate(home / "c.safetensors").open("rb")}
        files["card"] = (home / "c.json").open("rb")
        version = http.post("/v1/models", files=files).json()["id"]
        reindex = {"model_version": version, "activate": True, "max_drop": 0.02}
        begun = http.post("/v1/admin/reindex", json=reindex)
        assert begun.status_code == 202, begun.text
        job = begun.json()["job_id"]
        watch = Watch(url, job)
        began = time.monotonic()
        during = load.run(watch.over)
        took = time.monotonic() - began
        after = load.run(_after(20))  # the new version alone
        _drained(http)
        state = http.get(f"/v1/jobs/{job}").json()
    every = [*idle, *during, *after]
    ratio = milliseconds(during)["searches"]["p95"] / milliseconds(idle)["searches"]["p95"]
    return {
        "pictures": pictures,
        "requests_per_second": sum(RATES.values()),
        "seconds": {"reindex": round(took, 1), **watch.phases()},
        "counts": state["counts"],
        "switched": state["reindex"]["report"]["switched"],
        "report": state["reindex"]["report"],
        "failed_requests": sum(answer.failed is not None for answer in every),
        "failures": Counter(answer.failed for answer in every if answer.failed),
        **_consistency(every),
        "ms": {"idle": milliseconds(idle), "during": milliseconds(during), "after": milliseconds(after)},
        "ms_by_phase": {phase: milliseconds(some) for phase, some in watch.split(during).items() if len(some) > 100},
        "p95_over_idle": round(ratio, 2),
        "p95_over_idle_by_kind": {
            kind: round(milliseconds(during)[kind]["p95"] / milliseconds(idle)[kind]["p95"], 2) for kind in RATES
        },
    }


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


class Watch:
    """Follows a job beside the load, twice a second."""

    def __init__(self, url: str, job: str) -> None:
        self._seen: list[tuple[float, str]] = []
        self._over = threading.Event()
        threading.Thread(target=self._run, args=[url, job], daemon=True).start()

    def over(self) -> bool:
        return self._over.is_set()

    def phases(self) -> dict[str, float]:
        """Seconds in each phase."""
        ends = [at for at, _ in self._seen[1:]] + [self._seen[-1][0]]
        return {phase: round(end - at, 1) for (at, phase), end in zip(self._seen, ends, strict=True)}

    def split(self, answers: list[Answer]) -> dict[str, list[Answer]]:
        """The answers by the phase in which they were due."""
        found: dict[str, list[Answer]] = {}
        for answer in answers:
            before = [phase for at, phase in self._seen if at <= answer.due]
            found.setdefault(before[-1] if before else self._seen[0][1], []).append(answer)
        return found

    def _run(self, url: str, job: str) -> None:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            while not self._over.wait(0.5):
                found = http.get(f"/v1/jobs/{job}").json()
                phase = found["reindex"]["phase"]
                if not self._seen or self._seen[-1][1] != phase:
                    self._seen.append((time.monotonic(), phase))
                if found["finished_at"]:
                    self._over.set()


def _drained(http: httpx.Client) -> None:
    while (
        http.get("/v1/jobs?status=queued&limit=1").json()["items"]
        or (http.get("/v1/jobs?status=running&limit=1").json()["items"])
    ):
        time.sleep(0.5)


def _vectors(images: list[str]) -> list[Any]:
    from uuid import UUID  # noqa: PLC0415

    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.embedding import embeddings  # noqa: PLC0415
    from umbel.models import versions  # noqa: PLC0415

    with transaction() as session:
        version = versions.get_active_key(session)
        return list(embeddings.find_vectors(session, version.id, [UUID(each) for each in images]).values())


def _consistency(answers: list[Answer]) -> dict[str, object]:
    """Whether pictures are missing from either version, and whether any answer mixed the two."""
    from uuid import UUID  # noqa: PLC0415

    from sqlalchemy import text  # noqa: PLC0415

    from umbel.base.database import transaction  # noqa: PLC0415
    from umbel.embedding import embeddings  # noqa: PLC0415

    accepted = {answer.body["image_id"] for answer in answers if answer.kind == "upload" and not answer.failed}
    with transaction() as session:
        counts = session.execute(text("SELECT model_version_id, count(*) FROM embedding GROUP BY 1")).all()
        images = session.execute(text("SELECT count(*) FROM image")).scalar_one()
        ids = list(accepted)
        stored = "SELECT count(*) FROM embedding WHERE image_id = ANY (:ids)"
        uploads = session.execute(text(stored), {"ids": [UUID(each) for each in ids]}).scalar_one()
    found = [answer for answer in answers if answer.query and not answer.failed]
    mixed = 0
    for answer in random.Random(2).sample(found, min(CHECKED, len(found))):
        matches = [UUID(match["image_id"]) for match in answer.body["matches"]]
        version = UUID(answer.body["model_version"])
        with transaction() as session:
            vectors = embeddings.find_vectors(session, version, [UUID(answer.query), *matches])
        query = vectors[UUID(answer.query)]
        true = [1 - float(query @ vectors[match]) for match in matches]
        said = [match["distance"] for match in answer.body["matches"]]
        mixed += not np.allclose(true, said, atol=2e-3)
    versions = [(a.ended, a.body["model_version"]) for a in answers if a.kind != "upload" and not a.failed]
    return {
        "images": images,
        "embeddings_by_version": sorted(count for _, count in counts),
        "missing": 2 * images - sum(count for _, count in counts),
        "uploads_accepted": len(accepted),
        "uploads_embedded_twice": uploads == 2 * len(accepted),
        "answers_by_version": sorted(Counter(version for _, version in versions).values()),
        "answers_checked": min(CHECKED, len(found)),
        "answers_mixing_versions": mixed,
    }


if __name__ == "__main__":
    main()
