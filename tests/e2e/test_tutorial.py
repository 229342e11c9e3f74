"""The tutorial is run as it stands, block by block, in one shell; only port and home are this test's own."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stacks import Stack

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def script() -> str:
    blocks = re.findall(r"```(bash|python)\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    return "\n".join(code if kind == "bash" else f"python - <<'PYTHON'\n{code}PYTHON" for kind, code in blocks)


@pytest.mark.skipif(
    not (ROOT / ".venv" / "bin" / "activate").exists(), reason="the tutorial needs the checkout's .venv"
)
@pytest.mark.skipif(not shutil.which("curl"), reason="the tutorial needs curl")
def test_the_tutorial_does_what_it_says(stack: Stack) -> None:
    scratch = stack.home / "scratch"
    commands = (
        script().replace("/tmp/umbel-tutorial", str(scratch)).replace("127.0.0.1:8080", f"127.0.0.1:{stack.port}")
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT, capture_output=True, text=True, check=False,
        env=stack.environment,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert '"status":"queued"' in done.stdout
    assert '"status":"succeeded"' in done.stdout
    assert '"status":"duplicate"' in done.stdout
    assert (scratch / "similar.png").stat().st_size > 10_000
    assert "17 indexed." not in done.stdout.replace("17 indexed.", "", 1), "the second import must send nothing"
    assert done.stdout.rstrip().endswith("Stopped.")
