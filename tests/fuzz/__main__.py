"""Fuzzes the API of a whole stack of its own with schemathesis: `python -m tests.fuzz [--cases 60]`, or `make fuzz`.

Its gallery has lived (tests/lived.py), and most ids that are asked for are those of its images, jobs and models.

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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.model.run import Run

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


def fuzz(
    url: str, folder: Path, *, cases: int, seed: int, phases: str, known: dict[str, list[str]]
) -> tuple[int, Counter[str]]:
    """Exit status of schemathesis, and how many requests each phase made. cases: at most, for each operation and phase.

    folder: where the reports are left; known: for the hooks, see there.
    """
    (folder / "known.json").write_text(json.dumps(known))
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json",
        "--phases", phases, "--checks", ",".join(CHECKS), "--max-examples", str(cases), "--seed", str(seed),
        "--continue-on-failure", "--request-timeout", "40", "--workers", "1", "--warnings", "off",
        "--exclude-path", "/v1/events",  # a stream, which ends by no answer; tests/integration/test_event_stream.py
        "--report", "ndjson", "--report-ndjson-path", folder / "events.ndjson",
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "NO_PROXY": "*"}
    environment["UMBEL_FUZZ_KNOWN"] = str(folder / "known.json")
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    made: Counter[str] = Counter()
    for line in (folder / "events.ndjson").read_text().splitlines():
        for name, event in json.loads(line).items():
            if name == "ScenarioFinished":
                made[event["phase"]] += len(event["recorder"].get("cases", ()))
    return status, made


def known_of(run: "Run") -> dict[str, list[str]]:
    """Some of what the gallery has: ids, and names of collections. Not the reindex that is under way."""
    world = run.world
    jobs = [job.id for job in world.jobs.values() if job is not world.reindex]
    large = [item["image_id"] for item in run.server.get("/v1/images", params={"limit": 20}).body["items"]]
    return {
        "uuid": [*large, *list(world.images)[-20:], *world.gone[-3:], *jobs[-20:], *world.versions],
        "collection": [*world.collections, "forest", "missing"],
    }


def main() -> int:
    from tests.faults.target import Target  # noqa: PLC0415 - slow to import, not for --help
    from tests.lived import age, leave_in_peace  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=60, help="at most, for each operation and phase")
    parser.add_argument("--least", type=int, default=2_000, help="requests that must have been made in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    parser.add_argument("--images", type=int, default=2_000, help="about so many in the gallery")
    asked = parser.parse_args()
    stack, folder = Target(), Path(tempfile.mkdtemp(prefix="umbel-fuzz-"))
    try:
        began = time.monotonic()
        run = age(stack, images=asked.images)
        print(f"The gallery has lived for {time.monotonic() - began:.0f} s.", flush=True)
        began = time.monotonic()
        known = known_of(run)
        status, made = fuzz(stack.url, folder, cases=asked.cases, seed=asked.seed, phases=asked.phases, known=known)
        leave_in_peace(run)
        found = stack.umbel("reconcile", check=False)
        print(found.stdout, found.stderr)
        log = (stack.home / "var" / "logs" / "api.log").read_text(errors="replace")
        broken = [line for line in log.splitlines() if '"unexpected error"' in line or "unexpected error" in line]
    finally:
        stack.remove()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{made.total():,} requests in {time.monotonic() - began:.0f} s: {dict(made)}")
    for line in broken[:5]:
        print(line)
    return 1 if status or broken or found.returncode or made.total() < asked.least else 0


if __name__ == "__main__":
    sys.exit(main())
