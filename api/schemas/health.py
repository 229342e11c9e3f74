"""Whether the service is ready."""

from datetime import datetime

from pydantic import BaseModel, Field


class WorkerOut(BaseModel):
    name: str
    queues: list[str] = Field(description="What it works on.", examples=[["single", "bulk"]])
    device: str = Field(examples=["cpu"])
    started_at: datetime
    broker_connected: bool
    idle_seconds: float  # since it finished something, or had nothing to do


class ReadyOut(BaseModel):
    ready: bool = Field(examples=[True])
    checks: dict[str, bool] = Field(examples=[{"database": True, "redis": True, "model": True, "worker": True}])
    reasons: list[str]  # what is missing, for people
    workers: list[WorkerOut]
