"""What an administrator asks for."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.fields import Cursor, K, Limit, NextCursor, Strict


class RecallIn(Strict):
    k: K = 10
    sample: Annotated[int, Field(ge=1, le=1_000, description="Searches to compare, with stored vectors.")] = 100


class RecallsQuery(Strict):
    limit: Limit = 50
    cursor: Cursor | None = None


class AuditQuery(Strict):
    limit: Limit = 100
    cursor: Cursor | None = None


class AuditEventOut(BaseModel):
    id: UUID
    at: datetime
    actor: str = Field(description="Who: the key's name and public part, or a user of the command line.")
    action: str = Field(description="What, as a stable word.", examples=["models.activate_model"])
    target: str = Field(description="Of what.")
    details: dict[str, Any]
    status: int | None = Field(description="Of the answer; null: begun, and never known to have ended.")
    request_id: str | None
    address: str | None = Field(description="Where the request came from.")


class AuditOut(BaseModel):
    items: list[AuditEventOut]
    next_cursor: NextCursor


class RecallStepOut(BaseModel):
    ef_search: int
    recall: float
    ms: float = Field(description="Median of a search through the index.")


class RecallOut(BaseModel):
    id: UUID
    model_version: UUID
    k: int
    sample: int = Field(description="Searches that were compared; fewer than asked for when time was up.")
    ef_search: int = Field(description="In use for this k.")
    recall: float = Field(description="Share of the k nearest that the index finds, 0 to 1.")
    index_ms: float = Field(description="Median of a search through the index.")
    exact_ms: float = Field(description="Median of an exact search.")
    ef_for_95: int | None = Field(description="Least ef_search measured with a recall of 0.95; null: none reached it.")
    ef_for_99: int | None = Field(description="The same for 0.99.")
    steps: list[RecallStepOut]
    created_at: datetime


class RecallsOut(BaseModel):
    items: list[RecallOut]
    next_cursor: NextCursor
