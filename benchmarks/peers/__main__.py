"""From files to searchable vectors, and from a file to the ten most like it: Umbel beside what else one could use.

Run `python -m benchmarks.peers [--folder FOLDER] [--pictures 400]`. All are given the same pictures and the same
network (B0, torch, eager, float32) and store what they keep on disk. The others call it as one does: batch after batch,
decoded by our code on as many threads as there are cores, then forwarded on all cores. Umbel's workers decode ahead and
run forwards side by side, each on one core; `parallel forwards` is what that alone gives without any store.
Umbel is also measured with the runtime that it chooses by itself. Each runs in a process of its own, one at a time, in
blocks whose order is turned round. Umbel's figure is the whole way: API, import, hashes, copies of the files, ledger,
worker, Postgres with fsync and Redis, all on the same cores; the others' is a loop in one process.
The peers go into an environment of their own below var/, on top of ours, the first time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.common import spread, write
from benchmarks.peers.stores import STORES, Umbel

ENVIRONMENT = Path("var/peers")
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
BLOCKS = 5
QUERIES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of class folders; without one, the drawn sample garden")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=STORES, default=list(STORES))
    asked = parser.parse_args()
    python = environment()
    with tempfile.TemporaryDirectory(prefix="umbel-peers-") as work:
        Path(work).chmod(0o755)  # servers that give up root must get in
        folder = Path(work) / "pictures"
        gather(asked.folder, asked.images, folder)
        with ExitStack() as stack:
            peers = {name: stack.enter_context(Peer(python, name, Path(work), folder)) for name in asked.only}
            write("peers", compare(peers, len(list(folder.iterdir()))))


def compare(peers: dict[str, "Peer"], images: int) -> dict[str, object]:
    fills: dict[str, list[float]] = {name: [] for name in peers}
    queries: dict[str, list[float]] = {name: [] for name in peers}
    found: dict[str, list[list[int]]] = {name: [] for name in peers}
    for block in range(BLOCKS + 1):  # the first warms up
        for name in list(peers)[:: 1 if block % 2 else -1]:
            taken = peers[name].ask("fill")["seconds"]
            answers = [peers[name].ask(f"query {number}") for number in range(0, images, images // QUERIES)]
            print(f"{block} {name}: {images / taken:.1f}/s", file=sys.stderr)
            if block:
                fills[name].append(images / taken)
                queries[name].append(1000 * median(answer["seconds"] for answer in answers))
                found[name] = [answer["found"] for answer in answers]
    exact = found.get("forward", [])
    return {
        "pictures": images,
        "blocks": BLOCKS,
        "threads": os.cpu_count(),
        "peers": {
            name: {
                "versions": peers[name].ask("versions"),
                "images_per_second": spread(fills[name]),
                "query_ms": spread(queries[name]),
                "agreement": agreement(found[name], exact),
            }
            for name in peers
        },
    }


def agreement(found: list[list[int]], exact: list[list[int]]) -> float | None:
    """Share of the exact ten nearest that were found; those who leave the query itself out are not blamed for it."""
    if not exact:
        return None
    return round(fmean(len(set(some) & set(true)) / len(true) for some, true in zip(found, exact, strict=True)), 3)


class Peer:
    """A process that runs one store, and answers."""

    def __init__(self, python: Path, name: str, work: Path, folder: Path) -> None:
        home = work / name.replace(" ", "-").replace(",", "")
        self._log = (work / f"{home.name}.log").open("w+")
        self._process = subprocess.Popen(
            [
                sys.executable if issubclass(STORES[name], Umbel) else str(python),
                "-m",
                "benchmarks.peers.serve",
                name,
                str(home),
                str(folder),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> "Peer":
        return self

    def ask(self, what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            raise SystemExit(f"{self._process.args!r} ended:\n{self._log.read()[-3000:]}")
        return json.loads(answer)

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(60)


def environment() -> Path:
    """The Python of the peers' environment. Raises CalledProcessError when it cannot be made."""
    python = ENVIRONMENT / "bin" / "python"
    made = ENVIRONMENT / "made-of.txt"
    if not made.exists() or made.read_text() != REQUIREMENTS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
        made.write_text(REQUIREMENTS.read_text())
    [packages] = ENVIRONMENT.glob("lib/python*/site-packages")
    # Not only its path: what is installed there to be edited is found by the .pth files in it.
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return python.absolute()


def gather(source: Path | None, images: int, folder: Path) -> None:
    """`pictures` files in one folder, by number, from all classes in turn."""
    from garden import draw_garden  # noqa: PLC0415
    from ml.data.dataset import class_files  # noqa: PLC0415

    folder.mkdir()
    with tempfile.TemporaryDirectory() as drawn:
        if source is None:
            list(draw_garden(Path(drawn), species=16, per_species=-(-images // 16)))
        files = sorted((path for path, _ in class_files(source or Path(drawn)).files), key=lambda path: path.name)
        step = max(1, len(files) // images)
        for number, path in enumerate(files[::step][:images]):
            shutil.copy(path, folder / f"{number:05}{path.suffix}")


if __name__ == "__main__":
    main()
