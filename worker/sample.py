"""The sample garden for imports of type `sample`: drawing code is loaded when the first such import needs it."""

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from garden import SampleGarden


class LazyGarden:
    """umbel.imports.sources.sample.Garden. Any thread may use it."""

    @cached_property
    def _garden(self) -> "SampleGarden":
        from garden import SampleGarden  # noqa: PLC0415 - most workers never draw

        return SampleGarden()

    def name(self, species: int) -> str:
        return self._garden.name(species)

    def draw(self, species: int, specimen: int, size: int) -> bytes:
        return self._garden.draw(species, specimen, size)
