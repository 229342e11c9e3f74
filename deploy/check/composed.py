"""docker-compose.yml as Compose reads it, by itself or with files of deploy/compose/ laid over it."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
OVER = sorted((ROOT / "deploy" / "compose").glob("*.yml"))
REPLACED = ("command", "entrypoint", "test")  # lists that a later file replaces; others it adds to


def composed(over: Sequence[Path] = (), environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """With its variables put in, unless there is no environment. `$$` is a dollar sign, `:?` asks for one that must be
    there."""
    told: dict[str, Any] = {}
    for path in (COMPOSE, *over):
        text = path.read_text() if environment is None else _with_values(path.read_text(), environment)
        told = _laid_over(told, yaml.safe_load(text))
    return told


def _with_values(text: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name, operator, default = found["name"], found["operator"], found["default"] or ""
        if operator == ":?" and not environment.get(name):
            sys.exit(f"a compose file asks for {name}, which .env does not set")
        return environment.get(name) or default

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<default>[^}]*))?\}", value, text)


def _laid_over(below: Any, above: Any, name: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _laid_over(below[key], each, key) if key in below else each for key, each in above.items()}
    if isinstance(below, list) and isinstance(above, list) and name not in REPLACED:
        return below + above
    return above
