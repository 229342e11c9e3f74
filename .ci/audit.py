"""Are any of the packages in constraints.txt known to be vulnerable? Asks with pip-audit, in an environment of its own.

Exit 1 if any is. What could not be asked about is said, and is no failure: a registry without advisories is no reason
to stop, but neither is its silence a clean bill.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOME = ROOT / "var" / "audit"


def main() -> int:
    python = HOME / "bin" / "python"
    if not python.exists():
        venv.create(HOME, with_pip=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "pip-audit"]
    if subprocess.run(install, check=False).returncode:
        print("NOT AUDITED: pip-audit could not be installed")
        return 0
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [python, "-m", "pip_audit", "-r", ROOT / "constraints.txt", *options]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(told.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (told.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"NOT AUDITED: no advisories could be had ({reason})")
        return 0
    return report(packages)


def report(packages: list[dict[str, object]]) -> int:
    asked = [package for package in packages if "vulns" in package]
    vulnerable = [package for package in asked if package["vulns"]]
    for package in vulnerable:
        for vulnerability in package["vulns"]:  # type: ignore[attr-defined]
            fixed = ", ".join(vulnerability["fix_versions"]) or "nothing yet"
            print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    if unknown := len(packages) - len(asked):
        print(f"NOT AUDITED: {unknown} of {len(packages)} packages, about which the registry has no advisories")
    print(f"{len(vulnerable)} of {len(asked)} audited packages are known to be vulnerable.")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
