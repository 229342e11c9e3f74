"""Whether the service is ready."""

from datetime import datetime

from pydantic import BaseModel


class WorkerOut(BaseModel):
    name: str
    lanes: list[str]
    device: str
    started_at: datetime
    hears_redis: bool
    idle_seconds: float  # since it finished something, or had nothing to do


class ReadyOut(BaseModel):
    ready: bool
    checks: dict[str, bool]
    reasons: list[str]  # what is missing, for people
    workers: list[WorkerOut]
