"""Training reads what an import takes, and tells of every other file why it does not."""

from pathlib import Path

import pytest

from ml.data.dataset import load_dataset
from tests.field import names
from tests.field.catalog import files
from tests.field.inputs import Input
from umbel.base.settings import Settings

CLASSES = ("damaged EXIF", "damaged JPEG", "damaged PNG", "formats", "false suffixes", "unsupported")


def sent(kind: str) -> list[Input]:
    return files(kind)[::3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class for each kind of oddity, and the litter of a storage device."""
    made = tmp_path_factory.mktemp("training")
    for kind in CLASSES:
        for each in sent(kind):
            names.write(made / kind / each.name, each.data)
    names.share(made / "formats" / "share")
    return made


def test_what_an_import_takes_is_trained_on(folder: Path) -> None:
    dataset = load_dataset([folder], Settings(home="."), side=64)
    wanted = {f"{kind}/{each.name}" for kind in CLASSES for each in sent(kind) if each.media_type}
    wanted |= {f"formats/share/{name}" for name in names.MEANT}
    assert {dataset.relative_path(number) for number in range(len(dataset.paths))} == wanted
    told = {skipped.path.name: skipped.reason for skipped in dataset.skipped}
    assert [each.name for each in sent("unsupported") if each.says not in told.get(each.name, "")] == []
