"""The sample garden as a source: its images are drawn when they are read."""

from collections.abc import Iterator
from typing import Protocol

from umbel.base.errors import SourceError, Unreadable
from umbel.imports.sources.source import Entry, SampleSource


class Garden(Protocol):
    """Draws sample images: worker.sample.LazyGarden. Any thread may use it."""

    def name(self, species: int) -> str:
        """Name of a species, counted from 0; it is the label of its images."""
        ...

    def draw(self, species: int, specimen: int, size: int) -> bytes:
        """A JPEG of one specimen, counted from 0, size × size pixels; always the same."""
        ...


class Sample:
    """Species after species, labelled. garden: draws the images; without it the source can only be opened."""

    def __init__(self, spec: SampleSource, garden: Garden | None) -> None:
        self._spec, self._garden = spec, garden

    def entries(self, after: str | None = None) -> Iterator[Entry]:
        garden = self._garden
        if garden is None:
            raise SourceError("The sample garden is drawn by workers.")
        for species in range(self._spec.species):
            label = garden.name(species)
            for specimen in range(self._spec.per_species):
                position = f"{species:04d}/{specimen:04d}"
                if after is None or position > after:
                    yield Entry(position, f"{label}/{label}-{specimen + 1:04d}.jpg", position, label)

    def read(self, locator: str) -> bytes:
        if self._garden is None:
            raise Unreadable("The sample garden is drawn by workers.")
        species, specimen = map(int, locator.split("/"))
        return self._garden.draw(species, specimen, self._spec.size)

    def close(self) -> None:
        """Nothing is open."""
