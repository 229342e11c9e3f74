"""What benchmarks share: a database of their own, interleaved blocks, results with machine, commit and command."""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BLOCKS = 7


@contextmanager
def own_home(kept: Path | None = None) -> Iterator[Path]:
    """A home for embedded servers, made before anything of Umbel reads its settings; gone afterwards unless `kept`."""
    home = kept.absolute() if kept else Path(tempfile.mkdtemp(prefix="umbel-bench-"))
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(UMBEL_HOME=str(home), UMBEL_LOG_LEVEL="WARNING")
    try:
        yield home
    finally:
        if not kept:
            shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(**works: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each work in each of BLOCKS blocks; one unmeasured round first, the order turned round each time."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for block in range(BLOCKS):
        names = list(works) if block % 2 == 0 else list(works)[::-1]
        for name in names:
            taken[name].append(seconds(works[name]))
    return taken


def spread(values: list[float]) -> dict[str, float]:
    """Median with the range beside it."""
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def write(question: str, answer: dict[str, object]) -> None:
    """Print the answer and keep it as JSON."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    frame = {
        "question": question,
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
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


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
