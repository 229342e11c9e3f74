"""The launcher's clock is wrong everywhere in Python that tells the time of day, and only there."""

import json
import subprocess
import sys
import time
from pathlib import Path

ASK = """
import json, runpy, time
before = time.monotonic()
shift = runpy.run_path({path!r})["shift_clock"]
shift(7200)
import datetime
from datetime import UTC
print(json.dumps([
    time.time(), time.time_ns() / 1e9, datetime.datetime.now(UTC).timestamp(), datetime.datetime.now().timestamp(),
    __import__("calendar").timegm(time.gmtime()), time.monotonic() - before,
    isinstance(datetime.datetime.now(), datetime.datetime),
]))
"""


def test_the_clock_is_two_hours_ahead() -> None:
    code = ASK.format(path=str(Path(__file__).with_name("skewed.py")))
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *clocks, elapsed, is_datetime = json.loads(seen.stdout)
    assert all(7100 < clock - time.time() < 7210 for clock in clocks), clocks
    assert elapsed < 60
    assert is_datetime
