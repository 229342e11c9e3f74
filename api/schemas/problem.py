"""What a refusal looks like."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ProblemOut(BaseModel):
    """RFC 9457, with a code for programs and the faults of single fields."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(examples=["about:blank"])
    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(description="For people.", examples=["The request has fields that cannot be taken."])
    instance: str = Field(description="The path that was asked for.", examples=["/v1/search"])
    code: str = Field(description="Stable; for programs.", examples=["invalid_input"])
    errors: dict[str, Any] = Field(
        description="{place: {field: [messages]}} where single fields are at fault.",
        examples=[{"body": {"k": ["Input should be less than or equal to 1000"]}}],
    )
    request_id: str | None = Field(
        description="The X-Request-ID of the answer, to be found in the log.", examples=["0f8e5c0a"]
    )
