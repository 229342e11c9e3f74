"""What a training run leaves in its folder, by name."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of the run called `name` in the folder `out`."""

    out: Path
    name: str

    @property
    def checkpoint(self) -> Path:
        """The weights; their card lies beside them as .json."""
        return self.out / f"{self.name}.safetensors"

    @property
    def split(self) -> Path:
        """Who was learnt from and who was judged on."""
        return self.out / f"{self.name}.split.json"

    @property
    def curves(self) -> Path:
        """Loss, R@1 and MAP@R, drawn anew after each epoch."""
        return self.out / f"{self.name}.curves.png"

    @property
    def duplicates(self) -> Path:
        """The exact and near duplicates among the pictures; a contact sheet of them lies beside it as .png."""
        return self.out / f"{self.name}.duplicates.json"

    @property
    def state(self) -> Path:
        """What an unfinished run needs to go on; gone once it is finished."""
        return self.out / f"{self.name}.unfinished"
