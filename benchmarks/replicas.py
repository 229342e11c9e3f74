"""How many searches a second do one and two read replicas bring, and what do they take off the primary?

Run `python -m benchmarks.replicas [--images 50000]`: a primary and two replicas by streaming replication, and three
APIs: one reads from the primary, one from a replica, one from both. Eight clients search by stored images, each as soon
as it is answered, by turns of the APIs in blocks. All share the cores of this machine, so the rates can hardly rise
here; what a search takes of each process says what machines of their own would do. cpu_ms: of a search, by process.
"""

import argparse
import http.client
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.common import BLOCKS, own_home, spread, write
from benchmarks.database import DIM, add_version, own_server, server_cpu
from benchmarks.gallery import fill, perturbed
from benchmarks.served import Served, served
from tests.replica import ReplicaServer

CLIENTS = 8
EACH = 100  # searches of a client in a block
REPLICAS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    images = parser.parse_args().images
    with own_home() as home, own_server(home, shared_buffers="1GB", fsync="off") as primary, ExitStack() as stack:
        from stack.redis import Redis  # noqa: PLC0415
        from umbel.base import schema  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        redis = Redis(home, settings().socket_dir)
        redis.start()
        stack.callback(redis.stop)
        schema.upgrade(settings().database)
        asked = _gallery(images)
        replicas = [ReplicaServer(primary.home, primary.socket_dir, number) for number in range(1, REPLICAS + 1)]
        for replica in replicas:
            replica.start()
            stack.callback(replica.stop)
        servers = {"primary": primary} | {f"replica {number}": each for number, each in enumerate(replicas, 1)}
        urls = [replica.url() for replica in replicas]
        apis = {
            count: stack.enter_context(served(UMBEL_DATABASE_READ_URL=",".join(urls[:count])))
            for count in range(REPLICAS + 1)
        }
        write("replicas", {"images": images, "clients": CLIENTS, **_measure(apis, servers, asked)})


def _gallery(images: int) -> list[str]:
    """Ids of images to search by."""
    from umbel.base.database import autocommit  # noqa: PLC0415
    from umbel.models import partitions  # noqa: PLC0415

    version = add_version(indexed=False)
    originals = np.random.default_rng(1).normal(size=(images // 50, DIM)).astype(np.float32)
    originals /= np.linalg.norm(originals, axis=1, keepdims=True)
    ids = fill(version.id, perturbed(originals, images), [f"label {number}" for number in range(40)])
    with autocommit() as connection:
        partitions.build_index(connection, version.id, DIM, memory_mb=512, processes=1)
    return [str(each) for each in random.Random(1).sample(ids, 1000)]


def _measure(apis: dict[int, Served], servers: dict[str, Any], asked: list[str]) -> dict[str, Any]:
    rates: dict[int, list[float]] = {count: [] for count in apis}
    spent: dict[int, dict[str, float]] = {count: {} for count in apis}
    with ThreadPoolExecutor(CLIENTS) as pool:
        for block in range(BLOCKS + 1):  # the first warms up
            for count in list(apis)[:: 1 if block % 2 else -1]:
                before, began = _spent(apis[count], servers), time.perf_counter()
                list(pool.map(_search, [apis[count].port] * CLIENTS, range(CLIENTS), [asked] * CLIENTS))
                taken, after = time.perf_counter() - began, _spent(apis[count], servers)
                if block:
                    rates[count].append(CLIENTS * EACH / taken)
                    for name, seconds in after.items():
                        spent[count][name] = spent[count].get(name, 0) + seconds - before[name]
    cpu = {
        count: {name: round(1000 * each / (BLOCKS * CLIENTS * EACH), 3) for name, each in of.items()}
        for count, of in spent.items()
    }
    return {
        "searches_a_second": {f"{count} replicas": spread(each) for count, each in rates.items()},
        "cpu_ms": {f"{count} replicas": each for count, each in cpu.items()},
    }


def _spent(api: Served, servers: dict[str, Any]) -> dict[str, float]:
    return {name: server_cpu(server) for name, server in servers.items()} | {"api": sum(api.cpu_seconds())}


def _search(port: int, first: int, asked: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(first, first + EACH * CLIENTS, CLIENTS):
        body = json.dumps({"image_id": asked[number % len(asked)], "k": 10})
        connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == http.client.OK, content
    connection.close()


if __name__ == "__main__":
    main()
