"""The sample garden as a source: the pictures of `umbel sample`, in an order that can be taken up anywhere."""

from pathlib import Path

import pytest

from garden import SampleGarden, draw_garden
from umbel.base.blobs import Blobs
from umbel.base.errors import SourceError
from umbel.base.settings import Settings
from umbel.imports.sources import SampleSource, open_source

SPEC = SampleSource(type="sample", species=2, per_species=2)


def test_it_has_the_very_pictures_that_the_command_draws(tmp_path: Path) -> None:
    source = open_source(SPEC, Blobs("memory:///"), Settings(), SampleGarden())
    drawn = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in draw_garden(tmp_path, species=2, per_species=2)
    }
    assert {entry.name: source.read(entry.locator) for entry in source.entries()} == drawn


def test_listing_goes_on_behind_any_position_and_labels_by_species() -> None:
    source = open_source(SPEC, Blobs("memory:///"), Settings(), SampleGarden())
    entries = list(source.entries())
    assert [entry.name.split("/")[0] for entry in entries] == [entry.label for entry in entries]
    assert [*source.entries(entries[1].position)] == entries[2:]


def test_without_somebody_who_draws_it_can_be_opened_and_no_more() -> None:
    source = open_source(SPEC, Blobs("memory:///"), Settings())
    with pytest.raises(SourceError):
        next(iter(source.entries()))
