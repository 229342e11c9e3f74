"""Fuzzes the API of a whole stack of its own with schemathesis: `python -m tests.fuzz [--cases 60]`, or `make fuzz`.

Exit 1 on any 500, any answer that is not in the specification, and when fewer requests were made than --least.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# Not: that whatever breaks the schema is refused (0 is taken for false, "10" for 10, as forms need it), nor that
# whatever fits it is taken (random bytes are no picture).
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
)
ROOT = Path(__file__).parents[2]


def fuzz(url: str, folder: Path, *, cases: int, seed: int, phases: str) -> tuple[int, Counter[str]]:
    """Exit status of schemathesis, and how many requests each phase made. cases: at most, for each operation and phase.

    folder: where the reports are left.
    """
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json",
        "--phases", phases, "--checks", ",".join(CHECKS), "--max-examples", str(cases), "--seed", str(seed),
        "--continue-on-failure", "--request-timeout", "40", "--workers", "1", "--warnings", "off",
        "--report", "ndjson", "--report-ndjson-path", folder / "events.ndjson",
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "NO_PROXY": "*"}
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    made: Counter[str] = Counter()
    for line in (folder / "events.ndjson").read_text().splitlines():
        for name, event in json.loads(line).items():
            if name == "ScenarioFinished":
                made[event["phase"]] += len(event["recorder"].get("cases", ()))
    return status, made


def main() -> int:
    from tests.stacks import Stack  # noqa: PLC0415 - slow to import, not for --help

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=60, help="at most, for each operation and phase")
    parser.add_argument("--least", type=int, default=2_000, help="requests that must have been made in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    asked = parser.parse_args()
    stack, folder = Stack(), Path(tempfile.mkdtemp(prefix="umbel-fuzz-"))
    began = time.monotonic()
    try:
        stack.umbel("up", "--detach")
        stack.umbel("sample", stack.home / "garden", "--species", 3, "--per-species", 4)
        stack.umbel("import", stack.home / "garden", "--collection", "garden", "--label-from-folder", "--wait")
        status, made = fuzz(stack.url, folder, cases=asked.cases, seed=asked.seed, phases=asked.phases)
        found = stack.umbel("reconcile", check=False)
        print(found.stdout, found.stderr)
        log = (stack.home / "var" / "logs" / "api.log").read_text(errors="replace")
        broken = [line for line in log.splitlines() if '"unexpected error"' in line or "unexpected error" in line]
    finally:
        stack.umbel("down", check=False)
        shutil.rmtree(stack.home, ignore_errors=True)
    print(f"{made.total():,} requests in {time.monotonic() - began:.0f} s: {dict(made)}")
    for line in broken[:5]:
        print(line)
    return 1 if status or broken or found.returncode or made.total() < asked.least else 0


if __name__ == "__main__":
    sys.exit(main())
