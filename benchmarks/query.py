"""How much does a search over HTTP add to what it has to compute?

By picture: against decode, a forward of one and the SQL in one process. By image id: against the SQL alone. The whole
stack runs on the same cores; the client keeps its connection open.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.common import interleaved, own_home, spread, write

ROUNDS = 40


def main() -> None:
    with own_home() as home:
        import os  # noqa: PLC0415
        import socket  # noqa: PLC0415

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ["UMBEL_PORT"] = str(probe.getsockname()[1])
        umbel = [sys.executable, "-P", "-m", "cli.main"]
        subprocess.run([*umbel, "demo"], check=True, stdout=subprocess.DEVNULL)
        try:
            _measure(home)
        finally:
            subprocess.run([*umbel, "down"], check=True, stdout=subprocess.DEVNULL)


def repeat(work: Callable[[], object]) -> None:
    for _ in range(ROUNDS):
        work()


def _measure(home: Path) -> None:
    from client import Umbel  # noqa: PLC0415
    from core.settings import settings  # noqa: PLC0415
    from db.search import Scope  # noqa: PLC0415
    from db.session import transaction  # noqa: PLC0415
    from services.search import Query, find_matches, query_by_images  # noqa: PLC0415
    from stack.state import url  # noqa: PLC0415
    from worker.model import load_active_model  # noqa: PLC0415

    picture = next((home / "garden").rglob("*.jpg")).read_bytes()
    embedder, _ = load_active_model(settings())
    with Umbel(url(settings())) as api:
        image_id = next(api.images()).image_id

        def sql_by_id() -> Query:
            with transaction() as session:
                query = query_by_images(session, [image_id])
                find_matches(session, query, k=10, scope=Scope())
            return query

        version = sql_by_id().version

        def compute_by_picture() -> None:
            vector = embedder.embed([embedder.decode(picture)])[0]
            with transaction() as session:
                find_matches(session, Query(vector, version), k=10, scope=Scope())

        taken = interleaved(
            http_by_picture=lambda: repeat(lambda: api.search(picture)),
            compute_by_picture=lambda: repeat(compute_by_picture),
            http_by_id=lambda: repeat(lambda: api.similar(image_id)),
            sql_by_id=lambda: repeat(sql_by_id),
        )
    milliseconds = {name: spread([1000 * each / ROUNDS for each in values]) for name, values in taken.items()}
    by_picture = zip(taken["http_by_picture"], taken["compute_by_picture"], strict=True)
    by_id = zip(taken["http_by_id"], taken["sql_by_id"], strict=True)
    write(
        "query",
        {
            "images": 240,
            "milliseconds": milliseconds,
            "picture_over_compute": spread([http / own for http, own in by_picture]),
            "id_over_sql": spread([http / own for http, own in by_id]),
        },
    )


if __name__ == "__main__":
    main()
