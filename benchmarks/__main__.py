"""`make bench`: the short benchmarks, one after the other, then docs/performance.md and its appendix.

Each in a process of its own, since each has its own settings. `python -m benchmarks --long` asks for the larger
figures, too; names choose some: `python -m benchmarks copy uploads`.
"""

import argparse
import subprocess
import sys
import time

# Minutes on two idle cores, about; and arguments.
QUESTIONS: dict[str, tuple[float, list[str]]] = {
    "search": (3, []),
    "runtimes": (0.5, []),
    "decoding": (1.5, []),
    "timeline": (1, []),
    "fetching": (1, []),
    "singles": (0.5, []),
    "copy": (1, []),
    "index_build": (0.5, []),
    "growth": (1.5, []),
    "uploads": (1, []),
    "slow_clients": (1, []),
    "waiting_searches": (1, []),
    "serving": (1.5, []),
    "unreachable_source": (1.5, []),
    "reindex": (2.5, []),
    "events": (0.5, []),
    "events_cost": (1, []),
    "events_ledger": (0.5, []),
    "vectors": (0.5, []),
}
LONG: dict[str, tuple[float, list[str]]] = {
    "index_build": (9, ["--images", "100000"]),
    "growth": (25, ["--largest", "1000000"]),
    "reindex": (4, ["--images", "10000"]),
    "bulk_import": (6, []),
    "binary": (4, []),
    "decoders": (2, []),
    "filters": (4, []),
    "paging": (5, []),
    "peers": (8, []),
    "scale": (1, []),
    "year": (12, []),
    "vectors": (3, ["--images", "100000"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(QUESTIONS | LONG)}")
    parser.add_argument("--long", action="store_true", help="those that take long, too, and the larger figures")
    asked = parser.parse_args()
    questions = QUESTIONS | LONG if asked.long else QUESTIONS
    chosen = {name: (LONG | questions)[name] for name in asked.names} or questions
    print(
        f"{len(chosen)} questions, about {sum(minutes for minutes, _ in chosen.values()):g} minutes on two idle cores"
    )
    failed = [name for name, (minutes, arguments) in chosen.items() if not answered(name, minutes, arguments)]
    subprocess.run([sys.executable, "-m", "benchmarks.report"], check=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def answered(name: str, minutes: float, arguments: list[str]) -> bool:
    """Ask one question, in a line; what went wrong below it."""
    print(f"{' '.join([name, *arguments])}, about {minutes:g} min …", end=" ", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{(time.monotonic() - began) / 60:.1f} min{' FAILED' if done.returncode else ''}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    return not done.returncode


if __name__ == "__main__":
    main()
