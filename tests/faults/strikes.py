"""How each kind of fault is done. A strike returns when the fault is over; what it does not undo, the stack must."""

import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from tests.faults.company import cut_connections, skewed_worker
from tests.faults.restarts import restart, roll, terminate
from tests.faults.schedule import Fault, Kind
from tests.faults.shortages import fill_blob_disk, fill_disk, limit_memory, stop_workers
from tests.faults.starving import lose_bucket
from tests.faults.target import PATIENCE_SECONDS, NoTarget, Scene, children
from tests.faults.transactions import dump_during_retire, hold_snapshot
from tests.processes import eventually, frozen
from umbel.base.types import Queue
from umbel.jobs.wakeup import TASK

RINGS = 400

Strike = Callable[[Scene, Fault], None]


def kill(look: Callable[[], Sequence[psutil.Process]], fault: Fault, what: str) -> None:
    """kill -9 of one of those that `look` sees, as soon as there is one. Raises NoTarget if there is none."""
    try:
        processes = eventually(look, within=PATIENCE_SECONDS)
    except AssertionError as error:
        raise NoTarget(f"there is no {what}") from error
    with suppress(psutil.NoSuchProcess):
        processes[int(fault.pick * len(processes))].kill()


def kill_part(name: str) -> Strike:
    return lambda scene, fault: scene.target.process(name).kill()


def kill_decoder(scene: Scene, fault: Fault) -> None:
    kill(scene.target.decoders, fault, "decoder process")


def kill_api_process(scene: Scene, fault: Fault) -> None:
    kill(scene.target.api_processes, fault, "API process")


def kill_backend(scene: Scene, fault: Fault) -> None:
    kill(scene.target.backends, fault, "session of Postgres")


def stop_postgres(scene: Scene, fault: Fault) -> None:
    scene.target.process("postgres").send_signal(signal.SIGQUIT)


def freeze_postgres(scene: Scene, fault: Fault) -> None:
    postmaster = scene.target.process("postgres")
    with frozen([postmaster, *children(postmaster)]):
        scene.stop.wait(fault.seconds)


def freeze_redis(scene: Scene, fault: Fault) -> None:
    with frozen([scene.target.process("redis")]):
        scene.stop.wait(fault.seconds)


def flush_redis(scene: Scene, fault: Fault) -> None:
    def flush() -> None:
        with Redis.from_url(scene.target.settings.redis, socket_timeout=2) as redis:
            redis.flushall()

    once_redis_is_there(flush)


def empty_redis(scene: Scene, fault: Fault) -> None:
    data = scene.target.settings.home / "redis"
    process = scene.target.process("redis")
    process.kill()
    psutil.wait_procs([process], timeout=2)
    shutil.rmtree(data, ignore_errors=True)  # before the supervisor starts it again, half a second from now


def refuse_blobs(scene: Scene, fault: Fault) -> None:
    """No file of the API or the worker may grow beyond 0 bytes, or beyond a few hundred: EFBIG, as ENOSPC would be."""
    limit = 0 if fault.pick < 0.5 else 512

    def apply(size: int) -> None:
        for name in ("api", "worker"):
            with suppress(NoTarget, psutil.Error):
                process = scene.target.process(name)
                for each in (process, *children(process)):
                    with suppress(psutil.Error):
                        _, hard = each.rlimit(resource.RLIMIT_FSIZE)
                        each.rlimit(resource.RLIMIT_FSIZE, (size, hard))

    apply(limit)
    try:
        scene.stop.wait(fault.seconds)
    finally:
        apply(resource.RLIM_INFINITY)


def wake_workers(scene: Scene, fault: Fault) -> None:
    rng = random.Random(fault.seed)
    queues = rng.choices(list(Queue), k=RINGS)
    broker = scene.target.settings.broker

    def wake() -> None:
        with Celery("umbel-faults", broker=broker, set_as_current=False) as celery:
            celery.conf.update(task_ignore_result=True, broker_transport_options={"socket_timeout": 2.0})
            with celery.producer_or_acquire() as producer:
                for queue in queues:
                    celery.send_task(TASK, queue=queue, kwargs={"queue": queue}, retry=False, producer=producer)

    once_redis_is_there(wake)


def kill_supervisor(scene: Scene, fault: Fault) -> None:
    supervisor = scene.target.supervisor()
    supervisor.kill()
    psutil.wait_procs([supervisor], timeout=5)
    scene.target.up()


def once_redis_is_there(work: Callable[[], None]) -> None:
    """Redis may be away because of another fault: then wait for it, and do all of it again. Raises NoTarget."""

    def done() -> bool:
        try:
            work()
        except (RedisError, OperationalError, OSError):
            return False
        return True

    try:
        eventually(done, within=PATIENCE_SECONDS)
    except AssertionError as error:
        raise NoTarget("Redis is away") from error


STRIKES: dict[Kind, Strike] = {
    Kind.DECODER: kill_decoder,
    Kind.WORKER: kill_part("worker"),
    Kind.API_PROCESS: kill_api_process,
    Kind.API_MASTER: kill_part("api"),
    Kind.SCHEDULER: kill_part("scheduler"),
    Kind.REDIS_KILL: kill_part("redis"),
    Kind.REDIS_FREEZE: freeze_redis,
    Kind.REDIS_FLUSH: flush_redis,
    Kind.REDIS_EMPTY: empty_redis,
    Kind.POSTGRES_STOP: stop_postgres,
    Kind.POSTGRES_BACKEND: kill_backend,
    Kind.POSTGRES_FREEZE: freeze_postgres,
    Kind.POSTMASTER: kill_part("postgres"),
    Kind.BLOBS_REFUSED: refuse_blobs,
    Kind.WAKEUPS: wake_workers,
    Kind.SKEWED_WORKER: skewed_worker,
    Kind.CONNECTIONS: cut_connections,
    Kind.SUPERVISOR: kill_supervisor,
    Kind.BUCKET: lose_bucket,
    Kind.DISK_FULL: fill_disk,
    Kind.BLOB_DISK_FULL: fill_blob_disk,
    Kind.MEMORY: limit_memory,
    Kind.DUMP: dump_during_retire,
    Kind.SNAPSHOT: hold_snapshot,
    Kind.SEARCHES_WAIT: stop_workers,
    Kind.TERMINATE: terminate,
    Kind.ROLLING: roll,
    Kind.RESTART: restart,
}


LASTING = frozenset(Kind) - {
    Kind.DECODER, Kind.WORKER, Kind.API_PROCESS, Kind.API_MASTER, Kind.SCHEDULER, Kind.REDIS_KILL, Kind.REDIS_EMPTY,
    Kind.REDIS_FLUSH, Kind.POSTGRES_STOP, Kind.POSTMASTER, Kind.POSTGRES_BACKEND, Kind.WAKEUPS, Kind.SUPERVISOR,
}  # fmt: skip


def healing_begins(kind: Kind, began: float) -> float:
    """The moment from which healing counts: the end of a fault that lasts, the beginning of one that is a blow."""
    return time.monotonic() if kind in LASTING else began
