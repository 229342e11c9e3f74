"""Which checkpoint to use: the settings' own, the shipped one, or one of the hub's weights; torch for these alone."""

from pathlib import Path

from umbel.base.errors import ModelNotFound
from umbel.base.settings import Settings

HUB_ARCHITECTURE = "tf_efficientnetv2_b0"
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = WEIGHTS / "umbel-b0.safetensors"  # the default


def shipped_checkpoint(name: str) -> Path | None:
    """The checkpoint of this name that comes with Umbel; None where there is none."""
    path = WEIGHTS / f"{name}.safetensors"
    return path if Path(name).name == name and path.is_file() else None


def find_checkpoint(settings: Settings) -> Path:
    """The checkpoint to use: the one in the settings, else the shipped one, else one made of the hub's weights.

    Raises ModelNotFound. A path in the settings that does not exist is an error, never passed over in silence.
    """
    if settings.checkpoint is not None:
        if not settings.checkpoint.is_file():
            raise ModelNotFound(f"UMBEL_CHECKPOINT names {settings.checkpoint}, which does not exist.")
        return settings.checkpoint
    if SHIPPED.is_file():
        return SHIPPED
    path = settings.home / "models" / f"{HUB_ARCHITECTURE}-imagenet.safetensors"
    if not path.is_file():
        from ml.untuned import save_untuned  # noqa: PLC0415 - see the module's docstring

        try:
            save_untuned(path, HUB_ARCHITECTURE)
        except ModelNotFound as error:
            raise ModelNotFound(
                "No model found: UMBEL_CHECKPOINT is not set, this installation ships none, and the pretrained "
                f"weights of {HUB_ARCHITECTURE} could not be fetched from the model hub. Set UMBEL_CHECKPOINT to a "
                ".safetensors file with its card beside it, or make one with `umbel train FOLDER --out DIR`."
            ) from error
    return path
