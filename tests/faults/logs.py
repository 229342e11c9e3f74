"""What the stack said during one seed, kept where somebody can look at it when the seed has failed."""

import json
from dataclasses import asdict, fields
from pathlib import Path

from tests.faults.trial import Outcome


class Logs:
    """The logs of a stack, from the moment this is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = {path: path.stat().st_size for path in folder.glob("*.log")}

    def keep(self, outcome: Outcome, where: Path) -> None:
        """Write what was said since, and the outcome beside it, to `where`."""
        where.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob("*.log")):
            since = self._sizes.get(path, 0)
            with path.open("rb") as log:
                log.seek(since if path.stat().st_size >= since else 0)  # set aside and begun anew
                (where / path.name).write_bytes(log.read())
        said = {each.name: getattr(outcome, each.name) for each in fields(outcome)}
        (where / "outcome.json").write_text(json.dumps(said, indent=2, default=asdict) + "\n")
