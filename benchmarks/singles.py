"""How close do single uploads come to the raw forward, when 16 clients send one after the other?

Run `python -m benchmarks.singles`: the whole stack as processes; 16 clients, each on a connection that stays open, send
POST /v1/images with pictures that differ. Ours: from the first byte sent until the last picture can be found. Raw: by
turns with it, the forward of the same model in this process, on pictures decoded before, while the stack is idle.
cpu_ms_a_image: user and system time of each part of the stack over all blocks, beside that of the raw forward.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psutil  # type: ignore[import-untyped]
from sqlalchemy import text

from benchmarks.common import BLOCKS, cpu_seconds, embed_all, interleaved, own_home, spread, whole_stack, write
from benchmarks.uploads import CLIENTS, Client, drawn_jpegs, request

EACH = 16  # uploads of a client in a block
SIDE = 320  # of the pictures, in pixels
LOOK_SECONDS = 0.01


def main() -> None:
    with own_home(), whole_stack() as parts:
        write("singles", _answer(parts))


def _answer(parts: dict[str, psutil.Process]) -> dict[str, object]:
    from ml.runtime import load_embedder  # noqa: PLC0415
    from umbel.base.database import engine  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

    embedder = load_embedder(settings())
    images = drawn_jpegs(SIDE)
    numbers = count()
    sent = CLIENTS * EACH
    pixels = [embedder.decode(images[number % len(images)]) for number in range(sent)]
    clients = [Client(settings().port) for _ in range(CLIENTS)]
    spent = {"raw_forward": 0.0}

    def raw() -> None:
        began = time.process_time()
        embed_all(embedder, pixels)
        spent["raw_forward"] += time.process_time() - began

    own = engine().execution_options(isolation_level="AUTOCOMMIT")
    with ThreadPoolExecutor(CLIENTS) as pool, own.connect() as connection:
        idle = cpu_seconds(parts)

        def ours() -> None:
            requests = [[request(images, next(numbers)) for _ in range(EACH)] for _ in range(CLIENTS)]
            list(pool.map(Client.send_all, clients, requests))
            while connection.scalar(text("SELECT count(*) FROM job_item WHERE state = 'pending'")):
                time.sleep(LOOK_SECONDS)

        taken = interleaved(raw=raw, ours=ours)
        spent |= {name: seconds - idle[name] for name, seconds in cpu_seconds(parts).items()}
        found = connection.scalar(text("SELECT count(*) FROM embedding"))
    assert found == (BLOCKS + 1) * sent, f"{found} vectors"
    for client in clients:
        client.close()
    return {
        "clients": CLIENTS,
        "pictures": sent,
        "runtime": f"{embedder.runtime} {embedder.precision}",
        "raw_per_second": spread([sent / each for each in taken["raw"]]),
        "ours_per_second": spread([sent / each for each in taken["ours"]]),
        "of_raw": spread([a / b for a, b in zip(taken["raw"], taken["ours"], strict=True)]),
        "cpu_ms_a_image": {name: round(1000 * each / found, 2) for name, each in spent.items()},
    }


if __name__ == "__main__":
    main()
