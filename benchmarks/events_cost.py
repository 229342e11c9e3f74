"""What do events cost imports and uploads by the whole stack?

Run `python -m benchmarks.events_cost`: the whole stack as processes; imports of a folder, and single uploads by clients
that send one after the other, with the triggers that write events and, by turns, with these disabled. From the first
request until all can be found. events_an_image: written.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from sqlalchemy import text

from benchmarks.common import BLOCKS, interleaved, own_home, spread, whole_stack, write
from benchmarks.events_ledger import switch
from benchmarks.images import draw
from benchmarks.uploads import CLIENTS, Client, drawn_jpegs, request

EACH = 4  # uploads of a client in a block
LOOK_SECONDS = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96, help="of an import")
    images = parser.parse_args().images
    with own_home() as home:
        folder = home / "pictures"
        draw(folder, images)
        os.environ |= {"UMBEL_IMPORT_ROOTS": str(folder)}
        with whole_stack():
            from umbel_client import Umbel  # noqa: PLC0415 - settings are read at the first use, so the home comes first

            from umbel.base.settings import settings  # noqa: PLC0415

            with Umbel(f"http://127.0.0.1:{settings().port}") as api:
                numbers = count()

                def load() -> None:
                    api.imports.folder(str(folder), collection=f"block-{next(numbers)}").wait()

                write("events_cost", _costs(settings().port, load, images))


def _costs(port: int, load: Callable[[], None], images: int) -> dict[str, object]:
    """Imports and single uploads, with and without the triggers."""
    from umbel.base.database import engine  # noqa: PLC0415

    own = engine().execution_options(isolation_level="AUTOCOMMIT")
    jpegs, numbers = drawn_jpegs(320), count()
    written: dict[str, list[int]] = {"import": [], "uploads": []}
    with ThreadPoolExecutor(CLIENTS) as pool, own.connect() as connection:

        def events() -> int:
            return int(connection.scalar(text("SELECT coalesce(max(seq), 0) FROM event")) or 0)

        def upload() -> None:
            before = events()
            sent = [[request(jpegs, next(numbers)) for _ in range(EACH)] for _ in range(CLIENTS)]
            clients = [Client(port) for _ in range(CLIENTS)]
            list(pool.map(Client.send_all, clients, sent))
            while connection.scalar(text("SELECT count(*) FROM job_item WHERE state = 'pending'")):
                time.sleep(LOOK_SECONDS)
            for client in clients:
                client.close()
            written["uploads"].append(events() - before)

        def bring() -> None:
            before = events()
            load()
            written["import"].append(events() - before)

        taken = interleaved(
            lambda name: switch(connection, on=not name.endswith("without")),
            import_with=bring,
            import_without=bring,
            uploads_with=upload,
            uploads_without=upload,
        )
        switch(connection, on=True)
    sizes = {"import": images, "uploads": CLIENTS * EACH}
    return {
        what: {
            "images": size,
            "events_an_image": round(max(written[what]) / size, 3),
            "with_per_second": spread([size / each for each in taken[f"{what}_with"]]),
            "without_per_second": spread([size / each for each in taken[f"{what}_without"]]),
            "time_with_over_without": spread(
                [one / other for one, other in zip(taken[f"{what}_with"], taken[f"{what}_without"], strict=True)]
            ),
        }
        for what, size in sizes.items()
    } | {"blocks": BLOCKS}


if __name__ == "__main__":
    main()
