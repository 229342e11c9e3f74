"""Which faults strike, when, and what they strike: drawn from a seed, so that a storm can be had again."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What can go wrong. The value is what `--only` takes and the report says."""

    DECODER = "decoder"  # kill -9 of a process that the worker decodes in
    WORKER = "worker"  # kill -9
    API_PROCESS = "api-process"  # kill -9 of one that serves
    API_MASTER = "api-master"  # kill -9 of the one that keeps them
    SCHEDULER = "scheduler"  # kill -9
    REDIS_KILL = "redis-kill"  # kill -9, its data stay
    REDIS_FREEZE = "redis-freeze"  # SIGSTOP for some seconds: connections stand, nothing answers
    REDIS_FLUSH = "redis-flush"  # FLUSHALL: every queue is gone, the server is not
    REDIS_EMPTY = "redis-empty"  # kill -9, and its data are gone when it comes back
    POSTGRES_STOP = "postgres-stop"  # SIGQUIT: immediate shutdown, recovery at the next start
    POSTGRES_BACKEND = "postgres-backend"  # kill -9 of one session's process: Postgres ends all sessions
    POSTGRES_FREEZE = "postgres-freeze"  # SIGSTOP of all its processes for some seconds
    POSTMASTER = "postmaster"  # kill -9 of the server's first process
    BLOBS_REFUSED = "blobs-refused"  # the API and the worker can write no file for some seconds: a full disk
    WAKEUPS = "wakeups"  # hundreds of task messages that nobody asked for, in all queues and any order
    SKEWED_WORKER = "skewed-worker"  # a second worker, its clock two hours ahead, joins and is killed
    CONNECTIONS = "connections"  # a second API and worker behind a proxy that cuts their connections
    SUPERVISOR = "supervisor"  # kill -9 of `umbel up`, then `umbel up --detach`
    BUCKET = "bucket"  # one that an import reads from refuses, is silent or slow; another import goes on beside it
    DISK_FULL = "disk-full"  # under Postgres and its log, Redis and what is sent
    BLOB_DISK_FULL = "blob-disk-full"
    MEMORY = "memory"  # no more for the worker
    DUMP = "dump"  # all tables are being read while a model version is retired
    SNAPSHOT = "snapshot"  # held for long: dead rows stay
    SEARCHES_WAIT = "searches-wait"  # the workers stand still, and more searches wait than the API has threads
    TERMINATE = "terminate"  # SIGTERM to one of the supervisor's processes
    ROLLING = "rolling"  # SIGTERM to worker, scheduler and API in turn
    RESTART = "restart"  # `umbel down`, `umbel up --detach`


# Those that heal within seconds and need no process to be started: for a run that must be short.
FAST = (Kind.API_PROCESS, Kind.REDIS_FLUSH, Kind.REDIS_KILL, Kind.POSTGRES_BACKEND, Kind.WAKEUPS)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. pause: seconds after the last one began. seconds: how long it lasts, if it lasts.

    pick: in [0, 1), chooses among several targets; seed: for what the fault draws itself.
    """

    kind: Kind
    pause: float
    seconds: float
    pick: float
    seed: int


# Seconds that some last: from, to. The others that last do so for LASTS.
SECONDS = {
    Kind.SKEWED_WORKER: (8, 16),
    Kind.CONNECTIONS: (8, 16),
    Kind.DUMP: (15, 25),  # beyond the ten after which the vectors of a retired version go
    Kind.SNAPSHOT: (40, 60),
    Kind.SEARCHES_WAIT: (5, 10),
    Kind.DISK_FULL: (3, 8),
    Kind.BLOB_DISK_FULL: (3, 8),
}
LASTS = (1, 6)


def draw_schedule(
    seed: int,
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    faults: int = 16,
    pace: float = 1,
    lasting: Mapping[Kind, float] = MappingProxyType({}),
) -> list[Fault]:
    """`faults` faults, in order: every one of `kinds` once before any comes a second time.

    pace: stretches the time; lasting: the seconds of kinds that are to last as long as that.
    """
    rng = random.Random(f"faults {seed}")
    drawn = [_draw(rng, kind, pace) for kind, _ in zip(_shuffled(rng, kinds), range(faults), strict=False)]
    return [replace(fault, seconds=lasting.get(fault.kind, fault.seconds)) for fault in drawn]


def nominal_seconds(schedule: Sequence[Fault]) -> float:
    """How long the storm takes if no fault holds up the next."""
    return sum(fault.pause for fault in schedule)


def _shuffled(rng: random.Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    while True:
        yield from rng.sample(kinds, len(kinds))


def _draw(rng: random.Random, kind: Kind, pace: float) -> Fault:
    # Some strike while the last one still hurts, most after the stack has had time to heal.
    pause = rng.uniform(0.2, 2) if rng.random() < 0.4 else rng.uniform(4, 10)
    seconds = rng.uniform(*SECONDS.get(kind, LASTS))
    return Fault(kind, round(pause * pace, 3), round(seconds * pace, 3), rng.random(), rng.getrandbits(32))
