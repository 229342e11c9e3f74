"""Every knob of a training run, with the values that the experiments in docs/experiments.md ended at."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from ml.preprocess import Preprocessing, Triple
from umbel.base.errors import InvalidInput


def progressive(size: int, epochs: int) -> tuple[tuple[int, int], ...]:
    """Stages (image side, epochs) up to a little below `size`: small ones teach most of it in half the time.

    Source: Tan and Le 2021, arXiv:2104.00298 (EfficientNetV2), section 4.
    """
    last, middle = max(1, round(0.25 * epochs)), round(0.4 * epochs)
    wanted = ((2 / 3, epochs - last - middle), (5 / 6, middle), (0.9, last))
    return tuple((max(32, round(size * share / 16) * 16), count) for share, count in wanted if count)


Share = Annotated[float, Field(gt=0, le=1)]
Side = Annotated[int, Field(ge=1)]
Stage = tuple[Annotated[int, Field(ge=32, le=1024)], Annotated[int, Field(ge=1)]]  # image side, epochs


def knob(text: str, **bounds: Any) -> Any:
    """What a setting does, and the values that it takes, as pydantic bounds them."""
    return Field(description=text, **bounds)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. Angles in radians, rates per step of AdamW, shares in [0, 1]."""

    name: Annotated[str, knob("of the model and its files", min_length=1)] = "umbel"
    seed: Annotated[int, knob("the same seed gives the same weights", ge=0)] = 1
    architecture: Annotated[str, knob("timm's name of the backbone")] = "tf_efficientnetv2_b0"
    dim: Annotated[int, knob("length of an embedding", ge=2, le=4000)] = 512
    pooling: Annotated[Literal["avg", "gem"], knob("avg: the backbone's own; gem: learned, of feature maps")] = "avg"
    pca_whitening: Annotated[float, knob("of the projection's start, see ml.neck.initialize", ge=0, le=1)] = 0.25

    # Above training's last side: random crops make things look larger in training than they are in whole images.
    # Source: Touvron et al. 2019, arXiv:1906.06423 (FixRes).
    size: Annotated[int, knob("side of the images that the finished network takes", ge=32, le=1024)] = 192
    mean: Annotated[Triple | None, knob("of RGB; null: what timm's weights of the backbone were trained with")] = None
    std: Annotated[Triple | None, knob("as mean")] = None
    flip_average: Annotated[bool, knob("embed the mean over image and mirror image, for twice the time")] = False
    stages: Annotated[tuple[Stage, ...], knob("[image side, epochs] of each, growing", min_length=1)] = progressive(
        192, 5
    )
    members: Annotated[int, knob("networks from the same start, whose weights are averaged", ge=1)] = 1
    batch_size: Annotated[int, knob("images a step", ge=2)] = 64
    balance: Annotated[float, knob("a class of n images is drawn in proportion to n**balance", ge=0, le=1)] = 1.0
    folder_balance: Annotated[float, knob("so is a folder, to n**folder_balance", ge=0, le=1)] = 1.0

    margin: Annotated[float, knob("ArcFace's, in radians", ge=0, le=1)] = 0.3
    margin_ramp: Annotated[float, knob("share of the run over which the margin grows from 0", ge=0, le=1)] = 0.3
    scale: Annotated[float, knob("ArcFace's, the inverse temperature", gt=0)] = 30.0
    centers: Annotated[int, knob("sub-centers a class", ge=1)] = 1
    compete_across_folders: Annotated[bool, knob("false: no class competes with those of another folder")] = False

    distillation: Annotated[float, knob("weight of keeping the start's pairwise cosines", ge=0)] = 0.0
    backbone_lr: Annotated[float, knob("rate of the backbone's last stage", ge=0)] = 3e-4
    neck_lr: Annotated[float, knob("rate of the projection", ge=0)] = 1e-3
    center_lr: Annotated[float, knob("rate of the class centers", ge=0)] = 1e-2
    layer_decay: Annotated[float, knob("each stage learns at this × the next one's rate", gt=0, le=1)] = 0.8
    frozen_stages: Annotated[int, knob("the stem and this many stages do not learn; 0: all do", ge=0)] = 2
    neck_first: Annotated[float, knob("share of the run in which the backbone does not learn", ge=0, le=1)] = 0.0
    weight_decay: Annotated[float, knob("AdamW's", ge=0)] = 0.02
    warm_up: Annotated[float, knob("share of the run in which the rates grow", ge=0, le=1)] = 0.05
    clip: Annotated[float, knob("of the gradient's norm", gt=0)] = 5.0
    ema: Annotated[float, knob("memory of the weights' moving average, a step", ge=0, lt=1)] = 0.995
    blend: Annotated[float, knob("of the trained weights in the finished ones; the rest is the start", ge=0, le=1)] = (
        0.85
    )
    whitening: Annotated[float, knob("of the finished projection within classes; 0: none", ge=0, le=1)] = 0.5

    crop_area: Annotated[tuple[Share, Share], knob("least and most of the area in a random crop")] = (0.35, 1.0)
    color: Annotated[float, knob("± of brightness, contrast, saturation", ge=0, le=1)] = 0.25
    # ± 0.04 is mild: the color of a flower is part of what it is.
    hue: Annotated[float, knob("± of a turn", ge=0, le=0.5)] = 0.04
    distortions: Annotated[int, knob("of RandAugment, an image", ge=0)] = 1
    magnitude: Annotated[float, knob("of RandAugment, the strongest that is drawn", ge=0, le=1)] = 0.5
    blur: Annotated[float, knob("share of the sharp images that are shrunk first", ge=0, le=1)] = 0.35
    blur_sides: Annotated[tuple[Side, Side], knob("to a shorter side between these, in pixels")] = (48, 128)

    validation: Annotated[float, knob("share of each class that is only judged on", ge=0, le=0.9)] = 0.2
    patience: Annotated[int, knob("epochs in a row without a better one, then the run ends", ge=1)] = 4
    held_out_classes: Annotated[int, knob("classes of the richest folder that training never sees", ge=0)] = 6

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


def described() -> Iterator[tuple[str, str, str]]:
    """The name of every setting, b0's value as JSON, and what it does."""
    hints = get_type_hints(Recipe, include_extras=True)
    for field in fields(Recipe):
        text: str = hints[field.name].__metadata__[0].description
        yield field.name, json.dumps(field.default), text


def changed(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """The recipe with settings changed: each "name=value", the value as JSON, or text as it is. Raises InvalidInput."""
    hints = get_type_hints(Recipe, include_extras=True)
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, is_given, text = assignment.partition("=")
        if not is_given or name not in hints:
            problem = f"there is no setting {name!r}" if is_given else f"{assignment!r} is not name=value"
            raise InvalidInput(f"--set: {problem}. Settings: {', '.join(hints)}.")
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(_value(text))
        except ValidationError as error:
            raise InvalidInput(f"--set {name}: {error.errors()[0]['msg']}, not {text!r}.") from error
    return replace(recipe, **values)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
