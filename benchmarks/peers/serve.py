"""One peer in a process of its own, doing what it is told on standard input: `fill`, `query N`, `versions`."""

import json
import sys
import time
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.stores import STORES


def main() -> None:
    name, home, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    answers, files = sys.stdout, sorted(folder.iterdir())
    with redirect_stdout(sys.stderr):  # some peers print
        home.mkdir(parents=True)
        store = STORES[name](home)
        try:
            for line in sys.stdin:
                print(json.dumps(_answer(store, line.split(), files)), file=answers, flush=True)
        finally:
            store.close()


def _answer(store: Any, asked: list[str], files: list[Path]) -> Any:
    """Seconds and, for a query, what was found."""
    began = time.perf_counter()
    match asked:
        case ["fill"]:
            store.fill(files)
            return {"seconds": time.perf_counter() - began}
        case ["query", number]:
            found = store.query(files[int(number)])
            return {"seconds": time.perf_counter() - began, "found": found}
        case _:
            return {package: version(package) for package in store.versions}


if __name__ == "__main__":
    main()
