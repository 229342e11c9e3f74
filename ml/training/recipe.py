"""Every knob of a training run, with the values that the experiments in docs/experiments.md ended at."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from ml.preprocess import Preprocessing, Triple


def progressive(size: int, epochs: int) -> tuple[tuple[int, int], ...]:
    """Stages (image side, epochs) up to a little below `size`: small ones teach most of it in half the time.

    Source: Tan and Le 2021, arXiv:2104.00298 (EfficientNetV2), section 4.
    """
    last, middle = max(1, round(0.25 * epochs)), round(0.4 * epochs)
    wanted = ((2 / 3, epochs - last - middle), (5 / 6, middle), (0.9, last))
    return tuple((max(32, round(size * share / 16) * 16), count) for share, count in wanted if count)


class WithinClassWhitening(NamedTuple):
    """What is made of the finished neck: see ml.neck for strength and emphasis, ml.anchors for pull."""

    strength: float
    emphasis: float
    pull: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. Angles in radians, rates per step of AdamW, shares in [0, 1]."""

    name: str = "umbel"
    seed: int = 1
    architecture: str = "tf_efficientnetv2_b0"  # of any backbone of timm's
    dim: int = 512
    pooling: Literal["avg", "gem"] = "avg"
    pca_whitening: float = 0.25  # of the projection's start, see ml.neck.initialize

    # Above training's last side: random crops make things look larger in training than they are in whole images.
    # Source: Touvron et al. 2019, arXiv:1906.06423 (FixRes).
    size: int = 192  # side of the images that the finished network takes
    mean: Triple | None = None  # None: what timm's weights of the backbone were trained with
    std: Triple | None = None
    flip_average: bool = False  # embeddings are the mean over image and mirror image, for twice the time
    stages: tuple[tuple[int, int], ...] = progressive(192, 5)  # (image side, epochs), growing
    members: int = 3  # networks trained from the same start, whose weights are averaged
    batch_size: int = 64
    balance: float = 1.0  # a class of n images is drawn in proportion to n**balance: 1 as it comes, 0 all alike

    margin: float = 0.3
    margin_ramp: float = 0.3  # share of the run over which the margin grows from 0
    scale: float = 30.0
    centers: int = 1
    compete_across_folders: bool = False  # False: no class is told apart from those of another folder

    distillation: float = 0.0  # weight of keeping the start's pairwise cosines
    backbone_lr: float = 3e-4
    neck_lr: float = 1e-3
    center_lr: float = 1e-2
    layer_decay: float = 0.8  # each stage nearer the input learns at this × the next one's rate
    frozen_stages: int = 2  # the stem and this many stages do not learn at all
    neck_first: float = 0.0  # share of the run in which only the neck and the centers learn
    weight_decay: float = 0.02
    warm_up: float = 0.05  # share of the run
    clip: float = 5.0  # of the gradient's norm
    ema: float = 0.995  # per step
    # What is tried when the epochs are over. Without validation images the first of each is taken.
    blends: tuple[float, ...] = (0.85, 0.7, 1.0)  # shares of the trained weights against the start
    within_class_whitenings: tuple[WithinClassWhitening, ...] = (
        WithinClassWhitening(0.75, 0.5, 1),
        WithinClassWhitening(0.9, 0.5, 1),
        WithinClassWhitening(0.75, 1, 1),
        WithinClassWhitening(0.75, 0.5, 1.5),
        WithinClassWhitening(0.75, 1, 0),
        WithinClassWhitening(0.5, 0.5, 0),
        WithinClassWhitening(0, 0, 0),
    )
    broad: int = 10  # folders of at most this many classes hold broad ones

    crop_area: tuple[float, float] = (0.35, 1.0)  # of the random resized crop
    color: float = 0.25  # ± of brightness, contrast, saturation
    hue: float = 0.04  # ± of a turn: the color of a flower is part of what it is
    distortions: int = 1  # of RandAugment, an image
    magnitude: float = 0.5  # of RandAugment, the strongest that is drawn, in [0, 1]
    blur: float = 0.35  # share of the sharp images that are shrunk first
    blur_sides: tuple[int, int] = (48, 128)  # to a shorter side in this range, in pixels

    validation: float = 0.2  # share of each class
    patience: int = 4  # epochs in a row without a better one, then the run ends
    held_out_classes: int = 6  # classes of the richest folder that training never sees; 0 if it has few

    @property
    def epochs(self) -> int:
        """Of each member, over all stages."""
        return sum(epochs for _, epochs in self.stages)

    @property
    def sizes(self) -> list[int]:
        """The image side of each epoch."""
        return [size for size, epochs in self.stages for _ in range(epochs)]

    @property
    def preprocessing(self) -> Preprocessing:
        """What the finished network is to be fed with."""
        from ml.backbones import pretraining  # noqa: PLC0415 - brings torch, which `--help` does without

        start = pretraining(self.architecture)
        mean, std = self.mean or start.mean, self.std or start.std
        return Preprocessing(size=self.size, mean=mean, std=std, flip_average=self.flip_average)

    def as_dict(self) -> dict[str, Any]:
        """For the card."""
        return asdict(self)


def _efficientnet(name: str, *, size: int, batch_size: int, backbone_lr: float, neck_lr: float) -> Recipe:
    """Larger networks want larger images and, to fit in memory, smaller batches; their rates go down with the batch."""
    return Recipe(
        architecture=f"tf_efficientnetv2_{name}",
        size=size,
        stages=progressive(size, 8),
        batch_size=batch_size,
        backbone_lr=backbone_lr,
        neck_lr=neck_lr,
    )


RECIPES: dict[str, Recipe] = {  # by the last part of the backbone's name
    "b0": Recipe(),
    "b1": _efficientnet("b1", size=192, batch_size=64, backbone_lr=3e-4, neck_lr=1e-3),
    "b2": _efficientnet("b2", size=208, batch_size=48, backbone_lr=2.5e-4, neck_lr=8e-4),
    "b3": _efficientnet("b3", size=240, batch_size=48, backbone_lr=2.5e-4, neck_lr=8e-4),
    "s": _efficientnet("s", size=288, batch_size=32, backbone_lr=2e-4, neck_lr=7e-4),
    "m": _efficientnet("m", size=384, batch_size=24, backbone_lr=1.5e-4, neck_lr=6e-4),
    "l": _efficientnet("l", size=384, batch_size=16, backbone_lr=1.2e-4, neck_lr=5e-4),
}


def recipe_for(backbone: str) -> Recipe:
    """The recipe for a backbone: one of RECIPES by its key or architecture, else careful rates for any of timm's.

    Raises InvalidInput for a name that timm does not have.
    """
    named = RECIPES | {recipe.architecture: recipe for recipe in RECIPES.values()}
    if backbone in named:
        return named[backbone]
    from ml.backbones import pretraining  # noqa: PLC0415 - brings torch, which `--help` does without

    size = pretraining(backbone).size
    careful = Recipe(architecture=backbone, batch_size=32, backbone_lr=1e-4, neck_lr=7e-4)
    return resized(careful, size, epochs=8)


def resized(recipe: Recipe, size: int, epochs: int) -> Recipe:
    """The recipe for images of another size or another number of epochs; a backbone of a fixed size gets no other."""
    from ml.backbones import pretraining  # noqa: PLC0415 - brings torch, which `--help` does without

    fixed = pretraining(recipe.architecture).fixed
    return replace(recipe, size=size, stages=((size, epochs),) if fixed else progressive(size, epochs))
