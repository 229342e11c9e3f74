"""What benchmarks share: a database of their own, interleaved blocks, results with machine, commit and command."""

import json
import logging
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import structlog

from umbel.base.machine import cpu
from umbel.base.types import Embedder, Pixels

RESULTS = Path(__file__).parent / "results"
BLOCKS = 7
USUAL = 100_000  # images of a gallery


@contextmanager
def own_home(kept: Path | None = None) -> Iterator[Path]:
    """A home for embedded servers, made before anything of Umbel reads its settings; gone afterwards unless `kept`."""
    home = kept.absolute() if kept else Path(tempfile.mkdtemp(prefix="umbel-bench-"))
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(UMBEL_HOME=str(home), UMBEL_LOG_LEVEL="WARNING")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is stopped
    try:
        yield home
    finally:
        if not kept:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def own_servers() -> Iterator[None]:
    """Postgres, with the schema, and Redis in a home of their own."""
    with own_home() as home:
        from stack.postgres import Postgres  # noqa: PLC0415
        from stack.redis import Redis  # noqa: PLC0415
        from umbel.base import schema  # noqa: PLC0415
        from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the home comes first

        database, redis = Postgres(home, settings().socket_dir), Redis(home, settings().socket_dir)
        database.start()
        redis.start()
        try:
            schema.upgrade(settings().database)
            yield
        finally:
            redis.stop()
            database.stop()


@contextmanager
def whole_stack(workers: int = 1) -> Iterator[dict[str, psutil.Process]]:
    """`umbel up` in the home, on a port of its own, for as long as it is asked; its parts by their names.

    workers: how many there are in all; those beyond `worker` are worker-2 and so on.
    """
    os.environ["UMBEL_PORT"] = str(free_port())
    from stack.state import read_state  # noqa: PLC0415
    from umbel.base.settings import settings  # noqa: PLC0415 - settings are read at the first use, so the port comes first

    umbel = [sys.executable, "-P", "-m", "cli.main"]
    subprocess.run([*umbel, "up", "--detach"], check=True, capture_output=True)
    names = [f"worker-{number}" for number in range(2, workers + 1)]
    more = {name: psutil.Popen([*umbel, "worker", "--name", name], stdout=subprocess.DEVNULL) for name in names}
    try:
        for name in names:
            while subprocess.run([*umbel, "worker", "--name", name, "--probe"], check=False).returncode:
                assert more[name].is_running(), f"{name} has ended"
        yield {part.name: psutil.Process(part.pid) for part in read_state(settings()).services} | more
    finally:
        for worker in more.values():
            worker.terminate()
            worker.wait()
        subprocess.run([*umbel, "down"], check=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def embed_all(embedder: Embedder, pixels: Sequence[Pixels], *, background: bool = False) -> None:
    """The raw forward: decoded pictures, in the batches that a worker makes."""
    for at in range(0, len(pixels), embedder.batch_size):
        embedder.embed(pixels[at : at + embedder.batch_size], background=background)


def interleaved(
    ready: Callable[[str], object] = lambda _: None, /, **works: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of each work in each of BLOCKS blocks; one unmeasured round first, the order turned round each time.

    ready: called with a work's name before it, and not measured.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for block in range(BLOCKS + 1):
        names = list(works) if block % 2 else list(works)[::-1]
        for name in names:
            ready(name)
            took = seconds(works[name])
            if block:
                taken[name].append(took)
    return taken


def spread(values: list[float]) -> dict[str, float]:
    """Median with the range beside it."""
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def cpu_seconds(parts: dict[str, psutil.Process]) -> dict[str, float]:
    """Of each part with all its children so far, those that have ended too; all workers together, and their decoders by
    themselves."""
    spent: dict[str, float] = {}
    for name, part in parts.items():
        kind, children = name.partition("-")[0], sum(map(spent_by, part.children(recursive=True)))
        beside = "decoders" if kind == "worker" else kind
        spent[kind] = spent.get(kind, 0.0) + spent_by(part)
        spent[beside] = spent.get(beside, 0.0) + children
    return spent


def spent_by(process: psutil.Process) -> float:
    try:
        return float(sum(process.cpu_times()[:4]))  # user, system, and both of the children it has waited for
    except psutil.NoSuchProcess:
        return 0.0


def named(question: str, images: int) -> str:
    """Of a result that there is for galleries of both sizes."""
    return question if images <= USUAL else f"{question}_large"


def write(question: str, answer: dict[str, object]) -> None:
    """Print the answer and keep it as JSON."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    frame = {
        "question": question,
        "machine": {
            "cpu": cpu("model name") or platform.processor() or "unknown",
            "cores": os.cpu_count(),
            "arithmetic": _arithmetic(),
            "system": platform.platform(),
            **_gpu(),
        },
        "load_before": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
        "command": _command(),
        **answer,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{question}.json").write_text(json.dumps(frame, indent=2) + "\n")
    print(json.dumps(frame, indent=2))


def _command() -> str:
    """How this process was started; where paths were is none of the readers' business."""
    spec = sys.modules["__main__"].__spec__
    words = ["PATH" if os.sep in word else word for word in sys.argv[1:]]
    return " ".join(["python -m", spec.name if spec else "?", *words])


# What decides how fast a forward is, the best first: as Linux calls it, and as people do.
ARITHMETIC = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 with bf16", "avx512f": "AVX-512", "avx2": "AVX2"}


def _arithmetic() -> str | None:
    flags = (cpu("flags") or "").split()
    return next((words for flag, words in ARITHMETIC.items() if flag in flags), None)


def _gpu() -> dict[str, str]:
    """The one that this process has used, if any."""
    torch = sys.modules.get("torch")
    return {"gpu": torch.cuda.get_device_name()} if torch and torch.cuda.is_initialized() else {}
