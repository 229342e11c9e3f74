"""Reindexes."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from api.schemas.fields import Links, Strict
from umbel.base.types import JobStatus, ReindexMode, ReindexPhase


class ReindexIn(Strict):
    mode: ReindexMode = Field(
        ReindexMode.EMBEDDINGS,
        description="embeddings: embed every picture with a model version, beside the active one, then judge it; index:"
        " build the active version's HNSW index anew, beside the one in use.",
    )
    model_version: UUID | None = Field(
        None, description="Which version; unset: the newest one that is not active. For `index` always the active one."
    )
    activate: bool = Field(False, description="Switch to the version if it passes the gate.")
    max_drop: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        None, description="By how much R@1 and MAP@R may be below the active version's; unset: UMBEL_GATE_DROP."
    )
    m: Annotated[int, Field(ge=2, le=100)] | None = Field(
        None, description="For `index`: neighbors of each vector in the graph; unset: as it is."
    )
    ef_construction: Annotated[int, Field(ge=4, le=1_000)] | None = Field(
        None, description="For `index`: candidates looked at for them, at least 2 m; unset: as it is."
    )

    @model_validator(mode="after")
    def _fitting(self) -> "ReindexIn":
        if self.mode == ReindexMode.INDEX and (self.activate or self.max_drop is not None):
            raise ValueError("`activate` and `max_drop` go with the mode `embeddings`")
        if self.mode == ReindexMode.EMBEDDINGS and (self.m is not None or self.ef_construction is not None):
            raise ValueError("`m` and `ef_construction` go with the mode `index`")
        return self


class ReindexAccepted(BaseModel):
    job_id: UUID
    status: JobStatus
    links: Links


class ReindexOut(BaseModel):
    mode: ReindexMode
    phase: ReindexPhase = Field(description="What it is at; done: it has ended, in whatever way.")
    activate: bool
    max_drop: float
    eta_seconds: float | None = Field(
        description="Until all pictures are embedded, by the pace so far; for the index see the job's `index`."
    )
    report: dict[str, Any] | None = Field(
        description="What came of it: the metrics of both versions with the interval of their difference, the recall"
        " of the new index, the overlap of the ten nearest, the gate and its reasons, whether it was switched. For an"
        " index its recall, milliseconds and bytes before and after."
    )
