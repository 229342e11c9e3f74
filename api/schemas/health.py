"""Whether the service is ready."""

from datetime import datetime

from pydantic import BaseModel


class WorkerOut(BaseModel):
    name: str
    lanes: list[str]
    device: str
    started_at: datetime


class ReadyOut(BaseModel):
    ready: bool
    checks: dict[str, bool]
    workers: list[WorkerOut]
