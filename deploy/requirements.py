"""Print what pyproject.toml requires, for pip: what every process needs; `ml`: that extra; `torch`: torch alone."""

import sys
import tomllib
from pathlib import Path

TORCH = ("torch", "torchvision")


def requirements(what: str | None) -> list[str]:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    if what is None:
        client = tomllib.loads(Path("client.toml").read_text())["project"]
        ours = [one for one in project["dependencies"] if one != client["name"]]
        return [*ours, *client["dependencies"]]
    extra = project["optional-dependencies"]["ml"]
    return [one for one in extra if one.startswith(TORCH)] if what == "torch" else list(extra)


if __name__ == "__main__":
    print(*requirements(sys.argv[1] if len(sys.argv) > 1 else None), sep="\n")
