"""Signing in."""

from pydantic import BaseModel, Field

from api.schemas.fields import Strict
from umbel.access.keys import KeyScope


class SessionIn(Strict):
    key: str = Field(max_length=200, description="A key, as `umbel keys create` showed it.")


class SessionOut(BaseModel):
    signed_in: bool = Field(description="With a key, by a cookie or in the request itself.")
    keys_required: bool = Field(description="Whether this service answers only to keys.")
    name: str | None = Field(description="Of the key.")
    scope: KeyScope | None = Field(description="What the caller may do; null: nothing before signing in.")
    collections: list[str] | None = Field(description="Those that the key is for; null: all.")
    csrf_token: str | None = Field(description="A browser that is signed in sends it with changes, as X-CSRF-Token.")
