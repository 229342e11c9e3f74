"""What a training run leaves in its folder, by name."""

from pathlib import Path


class RunFiles:
    """The files of the run called `name` in the folder `out`."""

    def __init__(self, out: Path, name: str) -> None:
        self.out, self.name = out, name
        self.checkpoint = out / f"{name}.safetensors"  # the weights; their card lies beside them as .json
        self.split = out / f"{name}.split.json"  # which images were learnt from and which were judged on
        self.curves = out / f"{name}.curves.png"  # loss, R@1 and MAP@R, drawn anew after each epoch
        self.duplicates = out / f"{name}.duplicates.json"  # a contact sheet of them lies beside it as .png
        self.state = out / f"{name}.unfinished"  # what an unfinished run needs to go on; gone once it is finished
        self.refit_state = out / f"{name}.refit.unfinished"  # the same of a refit, beside the first
