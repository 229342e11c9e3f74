"""Which checkpoint to use: the settings' own, the shipped one, or one of the hub's weights; torch for these alone."""

from pathlib import Path

from umbel.base.errors import ModelNotFound
from umbel.base.settings import Settings

SHIPPED = Path(__file__).parent / "weights" / "umbel-b0.safetensors"


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
    from ml.checkpoint import HUB_ARCHITECTURE, from_hub  # noqa: PLC0415 - see the module's docstring

    return from_hub(settings.home / "models" / f"{HUB_ARCHITECTURE}-imagenet.safetensors")
