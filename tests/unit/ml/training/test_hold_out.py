"""Folders that are only judged on: nothing is learnt from them, and nothing is chosen by them."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cli.train.command import train as command
from ml.training.train import Result, Watcher, train
from tests.unit.ml.conftest import as_file, draw
from tests.unit.ml.training.test_train import TINY, Interrupted
from umbel.base.errors import Conflict
from umbel.base.settings import Settings

QUICK = replace(TINY, size=48, stages=((48, 2),), batch_size=6)


@pytest.fixture
def unseen(make_folder, tmp_path):
    """Class folders of other pictures, some of which lie in the folder that is learnt from as well."""
    folder = tmp_path / "unseen"
    for kind in (3, 4, 5):
        (folder / f"kind{kind % 3}").mkdir(parents=True)
        for seed in range(4):
            (folder / f"kind{kind % 3}" / f"{seed}.jpg").write_bytes(as_file(draw(kind, 50 + seed)))
    known = make_folder()
    shutil.copy(folder / "kind0" / "0.jpg", known / "kind1" / "leaked.jpg")
    return folder


def run(folder, out, start, hold_out, watcher=None) -> Result:
    return train([folder], out, start, QUICK, hold_out=hold_out, settings=Settings(device="cpu"), watcher=watcher)


def test_a_held_out_folder_is_judged_and_not_learnt_from(unseen, tmp_path, start):
    def cut_off(epoch) -> None:
        raise Interrupted

    told: list[int] = []
    with pytest.raises(Interrupted):
        run(tmp_path / "shapes", tmp_path / "out", start, [unseen], Watcher(epoch=cut_off))
    with pytest.raises(Conflict):
        run(tmp_path / "shapes", tmp_path / "out", start, [])
    watcher = Watcher(begin=lambda dataset, leakage, done, steps: told.append(done))

    result = run(tmp_path / "shapes", tmp_path / "out", start, [unseen], watcher)

    assert told == [2]
    known, held_out = result.card.metrics["validation"], result.card.metrics["held_out"]
    assert list(held_out) == ["unseen"]
    assert (held_out["unseen"]["pictures"], held_out["unseen"]["classes"]) == (12, 3)
    assert list(known) == ["shapes, held-out pictures"]
    assert set(result.card.metrics["start_features"]) == {*known, *held_out}
    for epoch in result.epochs:
        assert set(epoch.metrics) == {*known, *held_out}
        assert epoch.score == pytest.approx(
            (epoch.metrics["shapes, held-out pictures"].r_at_1 + epoch.metrics["shapes, held-out pictures"].map_at_r)
            / 2
        )
    assert result.card.provenance.data == ["shapes: 13 pictures"]  # of 19, five are for validation and one has leaked
    roles = {
        (one["folder"], one["path"]): one["role"] for one in json.loads(result.files.split.read_text())["pictures"]
    }
    assert {role for (folder, _), role in roles.items() if folder == "unseen"} == {"held-out"}
    assert {path for (folder, path), role in roles.items() if folder == "shapes" and role == "held-out"} == {
        "kind1/leaked.jpg"
    }
    assert len(roles) == 31


@pytest.mark.slow
def test_the_command_reports_what_was_held_out(unseen, tmp_path, start):
    arguments = [tmp_path / "shapes", "--hold-out", unseen, "--out", tmp_path / "out", "--start", start]
    knobs = ["--epochs", "1", "--size", "48", "--batch-size", "6", "--set", "blend=0.5"]

    done = CliRunner().invoke(command, [*map(str, arguments), *knobs], catch_exceptions=False)

    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    assert "unseen: before" in shown
    assert "unseen: R@1" in shown
