"""Which pictures a model was trained on: the split that training writes beside its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from umbel.base.errors import BadDataset

Role = Literal["train", "validation", "held-out"]


class _Picture(BaseModel):
    model_config = ConfigDict(frozen=True)

    sha256: str
    gallery_sha256: str | None = None  # of the bytes that a gallery holds, where the file is a copy that it served
    role: Role


class _Split(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: Literal[1]
    pictures: list[_Picture]


def read_split(path: Path) -> Mapping[str, Role]:
    """The role of each picture, by the SHA-256 of its bytes, hex: folders may move.

    Bytes that were trained on count as trained on, whatever other role they have as well. Raises BadDataset.
    """
    try:
        pictures = _Split.model_validate_json(path.read_bytes()).pictures
    except OSError as error:
        raise BadDataset(f"The split {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "file"
        raise BadDataset(f"The split {path} cannot be read: {where}: {problem['msg']}.") from error
    known = [(name, one.role) for one in pictures for name in (one.sha256, one.gallery_sha256) if name]
    return dict(known) | {name: role for name, role in known if role == "train"}
