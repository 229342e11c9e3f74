"""/v1/admin/keys: keys of the API, as `umbel keys` makes, lists and revokes them."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from api import audit
from api.access import check_import_from
from api.caller import caller
from api.fields import CollectionName, NextCursor, PageQuery, Strict, answer_of, page_of
from umbel.access import keys
from umbel.access.keys import KeyScope
from umbel.base.database import transaction
from umbel.base.errors import NotFound
from umbel.base.storable import StorableText

bp = APIBlueprint("keys", __name__, tag="Keys")

LONGEST_SECONDS = 100 * 365 * 24 * 60 * 60
KEY = "umbel_3f9a61c0d2b4_9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # an example

KeyName = Annotated[StorableText, Field(min_length=1, max_length=200, description="For people.", examples=["camera"])]
Root = Annotated[StorableText, Field(min_length=1, max_length=1_000)]


class KeyIn(Strict):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "camera", "scope": "upload", "collections": ["garden"]}]}
    )

    name: KeyName
    scope: KeyScope
    collections: list[CollectionName] = Field(
        default_factory=list,
        max_length=1_000,
        description="Those it is for, whether they exist yet or not; empty: all.",
    )
    import_roots: list[Root] | None = Field(
        None,
        max_length=100,
        description="Folders and s3:// prefixes of the server that it may import from, below `UMBEL_IMPORT_ROOTS`;"
        ' `["all"]`: all of these. Left out: those of the key that asks, but none for a key for some collections.',
        examples=[["/data/garden"]],
    )
    expires_in: int | None = Field(
        None, ge=1, le=LONGEST_SECONDS, description="Seconds that it is valid; left out: until it is revoked."
    )


class KeyOut(BaseModel):
    id: UUID
    name: KeyName
    prefix: str = Field(description="Its public part, which names it in lists and logs.", examples=["3f9a61c0d2b4"])
    scope: KeyScope = Field(examples=["upload"])
    collections: list[str] | None = Field(description="null: all.", examples=[["garden"]])
    import_roots: list[str] | None = Field(description="null: all of the server; empty: none.", examples=[[]])
    created_at: datetime
    expires_at: datetime | None = Field(description="null: it is valid until it is revoked.")
    revoked_at: datetime | None = Field(examples=[None])
    last_used_at: datetime | None = Field(description="To the minute; null: never.", examples=[None])


class KeyCreatedOut(KeyOut):
    key: str = Field(
        description="The key itself. It is not told again: of it only the SHA-256 is kept.", examples=[KEY]
    )


class KeysOut(BaseModel):
    items: list[KeyOut]
    next_cursor: NextCursor


# The audit log names what is done here and what `umbel keys` does by the same words: keys.create, keys.revoke.


@bp.post("/v1/admin/keys")
@bp.input(KeyIn, arg_name="body")
@bp.output(KeyCreatedOut, status_code=201, description="Made; with the key itself, once")
@bp.doc(operation_id="create_key")
def create(body: KeyIn) -> Any:
    """Make a key, and tell it once.

    read looks and searches; upload only adds images and follows them, for cameras; write does both, and changes and
    removes images; admin does everything.
    """
    with transaction() as session:
        text, row = keys.create_key(
            session,
            name=body.name,
            scope=body.scope,
            collections=body.collections,
            import_roots=_roots(body),
            lasts=None if body.expires_in is None else timedelta(seconds=body.expires_in),
            actor=None,
        )
        audit.note(key=keys.named(row), **keys.described(row))
        out = answer_of(KeyCreatedOut, row, key=text)
    return out, 201, {"Cache-Control": "no-store"}


@bp.get("/v1/admin/keys")
@bp.input(PageQuery, location="query", arg_name="query")
@bp.output(KeysOut)
@bp.doc(operation_id="list_keys")
def list_(query: PageQuery) -> Any:
    """List the keys, newest first, also those that were revoked or have expired."""
    with transaction() as session:
        rows = keys.list_keys(session, before=query.cursor, limit=query.limit + 1)
        page, cursor = page_of(rows, query.limit)
        return KeysOut(items=[answer_of(KeyOut, row) for row in page], next_cursor=cursor)


@bp.delete("/v1/admin/keys/<uuid:key_id>")
@bp.output(KeyOut)
@bp.doc(operation_id="revoke_key")
def revoke(key_id: UUID) -> Any:
    """Revoke a key, with the next request, and sign out browsers that it signed in.

    It stays in the list, and cannot be made valid again; to revoke it once more is a 404.
    """
    with transaction() as session:
        row = keys.get_key(session, key_id)
        audit.note(key=keys.named(row))
        if row.revoked_at is not None:
            raise NotFound(f"The key {keys.named(row)} was revoked before.")
        return answer_of(KeyOut, keys.revoke_key(session, row.prefix, actor=None))


def _roots(body: KeyIn) -> tuple[str, ...] | None:
    """As `create_key` takes them. Raises Forbidden for more than the caller's key may import from."""
    own, asked = caller().import_roots, body.import_roots
    if own is None or asked == []:
        return None if asked is None else tuple(asked)
    if asked is None:
        return () if body.collections else own
    for root in asked:
        check_import_from(root)
    return tuple(asked)
