"""External versions: vectors that another model computed elsewhere, brought in beside those of our own."""

from typing import Any

from sqlalchemy.orm import Session

from umbel.base.errors import Conflict
from umbel.base.fingerprint import fingerprint
from umbel.base.tables import ModelVersion
from umbel.base.types import EXTERNAL, ModelState
from umbel.models import partitions, versions
from umbel.models.checkpoints import bring_back


def register_external(session: Session, *, name: str, dim: int, card: dict[str, Any]) -> ModelVersion:
    """A version of this name without weights, to be filled with vectors of `dim` numbers; card: what is kept of it.

    The same name again is the same version, a retired one brought back. It never becomes active, as no worker can embed
    with it. Raises Conflict for another dim, and while a retired one's vectors are still being removed; TransientError.
    """
    versions.lock_registration(session)
    named = fingerprint({EXTERNAL: name})  # in place of the weights' SHA-256
    version = versions.find_version_by_weights(session, named)
    if version is None:
        version = versions.insert_model_version(
            session,
            name=name,
            architecture=EXTERNAL,
            dim=dim,
            weights_sha256=named,
            preprocessing_hash=EXTERNAL,
            card=card,
        )
    elif version.dim != dim:
        raise Conflict(f"The external model {name!r} is registered, with vectors of {version.dim} numbers.")
    elif version.state == ModelState.RETIRED:
        bring_back(session, version)
    partitions.create_partition(session, version.id, dim)
    return version
