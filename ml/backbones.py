"""timm's backbones, any of them by name: how each was pretrained, how it is built, which stages it has."""

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ml.preprocess import Triple
from ml.torchvision_ops import make_importable
from umbel.base.errors import InvalidInput

make_importable()

import timm  # noqa: E402
from timm.layers import SelectAdaptivePool2d  # type: ignore[attr-defined] # noqa: E402
from timm.models import group_parameters  # noqa: E402


@dataclass(frozen=True, slots=True)
class Pretraining:
    """How timm's weights of a backbone were trained.

    size: side of the images; fixed: it takes that size alone; tag: timm's word for the data and the recipe.
    """

    size: int
    fixed: bool
    mean: Triple
    std: Triple
    tag: str
    license: str | None


def timm_has(architecture: str) -> bool:
    """Whether timm has a backbone of this name, with or without a tag.

    Names with a scheme ("hf-hub:…") are none: timm would fetch what they point to, and a card may come from anywhere.
    """
    return bool(timm.is_model(architecture.partition(".")[0]))


@lru_cache
def pretraining(architecture: str) -> Pretraining:
    """What timm states of a backbone: a model's name, or name.tag for one of several pretrainings.

    Raises InvalidInput for a name that timm does not have.
    """
    if not timm_has(architecture):
        near = get_close_matches(architecture, timm.list_models(), 3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; timm.list_models() lists all."
        raise InvalidInput(f"timm {timm.__version__} has no backbone {architecture!r}{hint}")
    try:
        stated: Any = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        tags = ", ".join(timm.list_pretrained(f"{architecture.partition('.')[0]}.*")) or "none"
        raise InvalidInput(f"timm has no pretraining {architecture!r}; it has: {tags}.") from error
    channels, side, _ = stated.input_size
    if channels != 3:
        raise InvalidInput(f"{architecture} takes images of {channels} channels, not of RGB.")
    return Pretraining(
        side, stated.fixed_input_size, tuple(stated.mean), tuple(stated.std), stated.tag or "", stated.license
    )


def create(architecture: str, *, size: int | None = None, pretrained: bool = False) -> Any:
    """The backbone without a classifier, with random weights, or timm's own from the hub or its cache.

    size: side of the images it will get, which matters to those of a fixed size; None: timm's own. Raises
    InvalidInput; with `pretrained` whatever the hub's client raises.
    """
    stated = pretraining(architecture)
    resized: dict[str, Any] = {"img_size": size} if stated.fixed and size not in (None, stated.size) else {}
    try:
        return timm.create_model(architecture, pretrained=pretrained, num_classes=0, **resized)
    except TypeError as error:
        if not resized:
            raise
        raise InvalidInput(f"{architecture} takes images of {stated.size} pixels only, not {size}.") from error


def load_weights(backbone: nn.Module, state: dict[str, Tensor]) -> None:
    """Fill a backbone with weights by timm's names; a classifier among them is left out.

    Position embeddings of another image size are resampled, as timm does. Raises RuntimeError when they do not fit.
    """
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    stated: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    classifiers = stated.get("classifier") or ()
    prefixes = tuple(f"{name}." for name in ([classifiers] if isinstance(classifiers, str) else classifiers))
    own = backbone.state_dict().keys()
    state = {name: tensor.float() for name, tensor in state.items() if name in own or not name.startswith(prefixes)}
    fit = backbone.load_state_dict(convert(state, backbone) if convert else state, strict=False)
    missing = [name for name in fit.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or fit.unexpected_keys:
        wrong = [*missing, *fit.unexpected_keys][0]
        raise RuntimeError(f"{wrong} is {'missing' if missing else 'unknown'}")


def stages(backbone: Any) -> list[list[tuple[str, nn.Parameter]]]:
    """The named parameters by stage, from the input on: the stem, the stages as timm groups them, what comes last."""
    stage_of: dict[str, int] = group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=True)
    found: dict[int, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in backbone.named_parameters():
        found.setdefault(stage_of[name], []).append((name, parameter))
    *earlier, last = [found[number] for number in sorted(found)]
    # timm counts a final norm or convolution as part of the last block; it learns faster, as a stage of its own.
    module = last[0][0].partition(".")[0]
    block = [one for one in last if one[0].partition(".")[0] == module]
    rest = [one for one in last if one[0].partition(".")[0] != module]
    return [*earlier, block, *([rest] if rest else [])]


def undecayed(backbone: Any) -> set[str]:
    """Names of the parameters that weight decay must leave alone, such as position embeddings."""
    return set(backbone.no_weight_decay()) if hasattr(backbone, "no_weight_decay") else set()


def pools_maps(backbone: Any) -> bool:
    """Whether it ends in feature maps (B, C, H, W) whose pooling is all that is left to do."""
    return isinstance(getattr(backbone, "global_pool", None), SelectAdaptivePool2d)


def pooled(backbone: Any, images: Tensor) -> Tensor:
    """(B, 3, S, S) standardized → (B, features) float32, pooled as the backbone's own classifier takes it."""
    features = backbone.forward_features(images)
    with torch.autocast(images.device.type, enabled=False):
        found: Tensor = backbone.forward_head(features.float(), pre_logits=True)
    return found
