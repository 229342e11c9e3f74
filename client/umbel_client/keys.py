"""`umbel.keys`: keys of the API, for operators."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from umbel_client.answer import Answer
from umbel_client.connection import Connection, given


class Key(Answer):
    """prefix: its public part. collections, import_roots: None: all. last_used_at: to the minute."""

    id: UUID
    name: str
    prefix: str
    scope: str
    collections: list[str] | None
    import_roots: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKey(Key):
    """key: the key itself; it is not told again."""

    key: str


class Keys:
    """Who may do what. These methods take a key of the scope `admin` for all collections."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        name: str,
        scope: str,
        *,
        collections: Sequence[str] = (),
        import_roots: Sequence[str] | None = None,
        lasts: timedelta | None = None,
    ) -> NewKey:
        """Make a key. scope: read, upload, write or admin; collections: that it is for, none: all.

        import_roots: folders and s3:// prefixes of the server that it may import from, ("all",): all, (): none;
        None: those of the key that asks, but none for a key that is for some collections.
        lasts: how long it is valid, in whole seconds; None: until it is revoked.
        """
        seconds = None if lasts is None else int(lasts.total_seconds())
        roots = None if import_roots is None else list(import_roots)
        body = {"name": name, "scope": scope, "collections": list(collections)}
        body |= given(import_roots=roots, expires_in=seconds)
        return NewKey.decode(self._connection.json("POST", "/v1/admin/keys", json=body))

    def list(self) -> Iterator[Key]:
        """All keys, newest first, also those that were revoked or have expired."""
        return self._connection.pages(Key, "/v1/admin/keys")

    def revoke(self, key_id: UUID) -> Key:
        """Refuse it from the next request on. It cannot be made valid again. Raises NotFound, also once it was."""
        return Key.decode(self._connection.json("DELETE", f"/v1/admin/keys/{key_id}"))
