"""The memory that many classes take in training, told before it is taken."""

import psutil  # type: ignore[import-untyped]
import torch

from ml.training.recipe import Recipe
from umbel.base.errors import InvalidInput

MANY = 100_000  # classes
LITTLE = 10**8  # bytes


def head_bytes(classes: int, recipe: Recipe) -> int:
    """The memory that the head takes in training: centers, their gradient and AdamW's moments; a batch's logits."""
    centers = 4 * 4 * classes * recipe.centers * recipe.dim
    # Of each image and class: a cosine a center, and in float32 or as wide about eight numbers on the way to the loss.
    return centers + 4 * recipe.batch_size * classes * (2 * recipe.centers + 8)


def check_head(classes: int, recipe: Recipe, device: torch.device) -> str | None:
    """What so many classes take, in words; None where that is little. Raises InvalidInput where there is no room."""
    needed = head_bytes(classes, recipe)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    told = f"{classes:,} classes take {needed / 1e9:.1f} GB while they are trained on"
    if needed > free:
        raise InvalidInput(
            f"{told}, and {free / 1e9:.1f} GB are free; lower --dim or --centers, or train on some of the classes: "
            "an embedding tells apart others too."
        )
    if classes > MANY:
        told += f"; above {MANY:,} every step spends most of its time on them, and some of the classes would do"
    return f"{told}." if needed > LITTLE else None
