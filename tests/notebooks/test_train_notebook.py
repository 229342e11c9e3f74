"""The training notebook: stored without outputs, and run from top to bottom on the sample garden."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "train.ipynb"
EARLIER, TRAINED = "plain features", "trained"

pytestmark = pytest.mark.timeout(600)  # half a minute where nothing else runs


def stored() -> NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def executed(folder: Path) -> NotebookNode:
    """The notebook with its outputs, run in a folder of its own: nobody's profile, no network, no cached weights."""
    notebook = stored()
    with pytest.MonkeyPatch.context() as environment:
        for name in ("HF_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            environment.setenv(name, str(folder / name.lower()))
        environment.setenv("HF_HUB_OFFLINE", "1")
        environment.setenv("UMBEL_DEVICE", "cpu")
        NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


@pytest.fixture(scope="module")
def summary(executed: NotebookNode) -> dict[str, Any]:
    """What the last cell prints."""
    printed = "".join(output.text for output in code_cells(executed)[-1].outputs)
    return json.loads(printed)


def images(cell: NotebookNode) -> list[Image.Image]:
    shown = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in shown]


def test_it_is_stored_without_outputs_and_for_any_python():
    notebook = stored()

    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count) == ([], None), f"clear the outputs of {cell.id!r}"


def test_every_cell_of_code_is_introduced():
    kinds = [cell.cell_type for cell in stored().cells]

    assert kinds == ["markdown", *["markdown", "code"] * (len(kinds) // 2)]


def test_it_runs_and_shows_what_it_speaks_of(executed):
    shown = {cell.id: images(cell) for cell in code_cells(executed) if cell.outputs}

    found = {name: len(some) for name, some in shown.items() if some}
    assert found == {"sheet": 1, "variations": 1, "duplicates": 1, "curves": 1, "query": 2, "map": 2}
    for image in (one for some in shown.values() for one in some):
        assert min(image.size) > 200
        darkest, lightest = image.convert("L").getextrema()
        assert lightest - darkest > 100  # not blank


def test_it_tells_of_each_epoch_while_it_trains(executed):
    [training] = [cell for cell in code_cells(executed) if cell.id == "training"]

    told = "".join(output.text for output in training.outputs)
    assert [f"epoch {number} at" in told for number in (1, 2, 3, 4)] == [True, True, True, False]


def test_what_was_learnt_beats_the_plain_features(summary):
    before, after = summary["metrics"][EARLIER], summary["metrics"][TRAINED]

    assert set(after) == {"garden, held-out pictures", "held-out classes"}
    for name in after:
        assert after[name]["map_at_r"] > before[name]["map_at_r"] + 0.02
        assert after[name]["r_at_1"] >= before[name]["r_at_1"]


def test_the_planted_duplicates_are_found(summary):
    assert (summary["duplicates"]["exact"], summary["duplicates"]["near"]) == (1, 1)


def test_what_it_makes_lies_where_it_was_started(summary, folder):
    checkpoint = Path(summary["checkpoint"])

    assert checkpoint.is_file()
    assert checkpoint.is_relative_to(folder)
