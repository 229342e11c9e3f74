"""The sample garden picture by picture, as `umbel sample` draws it into a folder: the same bytes."""

import io

from garden.planting import QUALITY, Plan
from garden.scene import draw_specimen
from garden.species import species_of


class SampleGarden:
    """umbel.base.types.Garden. Any thread may use it."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = plan or Plan()

    def name(self, species: int) -> str:
        return species_of(self._plan.seed, species).name

    def draw(self, species: int, specimen: int) -> bytes:
        drawn = io.BytesIO()
        image = draw_specimen(self._plan.seed, species, specimen, size=self._plan.size)
        image.save(drawn, "JPEG", quality=QUALITY)
        return drawn.getvalue()
