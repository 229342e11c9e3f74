"""The API key of the request that is being answered in this context. Jobs keep it: it says who began them."""

from contextvars import ContextVar
from uuid import UUID

_api_key_id: ContextVar[UUID | None] = ContextVar("api_key_id", default=None)


def set_api_key_id(key_id: UUID | None) -> None:
    """Say whose request this is; None: it came without a key."""
    _api_key_id.set(key_id)


def api_key_id() -> UUID | None:
    """Id of the key; None without one, and outside of requests."""
    return _api_key_id.get()
