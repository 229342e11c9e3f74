"""An evaluation's folder: evaluation.json, card.md, and the pictures that the card shows."""

import json
from pathlib import Path
from typing import Any

from ml.evaluation.album import write_album
from ml.evaluation.evaluate import Evaluation, Watch
from ml.evaluation.report_card import report_card
from umbel.base.errors import InvalidInput
from umbel.base.settings import Settings


def make_folder(out: Path) -> None:
    """Create the folder, before hours of work depend on it. Raises InvalidInput where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise InvalidInput(f"Nothing can be written to {out}: {error.strerror}.") from error


def publish(
    evaluation: Evaluation,
    report: dict[str, Any],
    out: Path,
    settings: Settings,
    watch: Watch = lambda stage, done, total: None,
) -> None:
    """Write everything into the folder `out`. report: what ml.evaluation.report made of the evaluation."""
    make_folder(out)
    (out / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")
    write_album(evaluation, out, settings, watch)
    (out / "card.md").write_text(report_card(report))
