"""The files of registered checkpoints: their keys in the blob store, and a copy on this machine."""

from pathlib import Path

from umbel.base.blobs import Blobs


def blob_keys(weights_sha256: str) -> tuple[str, str]:
    """The keys of a checkpoint's weights and card."""
    return f"models/{weights_sha256}/weights.safetensors", f"models/{weights_sha256}/card.json"


def split_key(weights_sha256: str) -> str:
    """The key of the list of images that a checkpoint was trained and judged on."""
    return f"models/{weights_sha256}/split.json"


def fetch_checkpoint(blobs: Blobs, weights_sha256: str, folder: Path) -> Path:
    """Copy a registered checkpoint from the blob store into `folder`, unless it is there. Returns the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in blob_keys(weights_sha256):
        target = folder / f"{weights_sha256}{Path(key).suffix}"
        if not target.exists():
            part = target.with_suffix(target.suffix + ".part")
            part.write_bytes(blobs.get(key))
            part.replace(target)
    return folder / f"{weights_sha256}.safetensors"


def hashes_of(picture: dict[str, str]) -> list[bytes]:
    """SHA-256 that a picture of a split is known by: of its file, and of what the gallery holds of it."""
    known = [picture["sha256"], *([picture["gallery_sha256"]] if "gallery_sha256" in picture else [])]
    return [bytes.fromhex(each) for each in known]
