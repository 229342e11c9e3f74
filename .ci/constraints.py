"""Writes constraints.txt anew: the newest versions that pyproject.toml allows, resolved together, nothing installed."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    options = ["--dry-run", "--quiet", "--ignore-installed", "--disable-pip-version-check", "--report", "-"]
    command = [sys.executable, "-m", "pip", "install", *options, f"{ROOT}[{','.join(extras)}]"]
    resolved = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["install"]
    packages = {each["metadata"]["name"]: each["metadata"]["version"] for each in resolved}
    packages.pop("umbel")
    lines = [f"{name}=={version.partition('+')[0]}\n" for name, version in packages.items()]
    (ROOT / "constraints.txt").write_text("".join(sorted(lines, key=str.lower)))


if __name__ == "__main__":
    main()
