"""What a search may answer with, beside the nearest: fields that all kinds of searches share."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from api.cursors import CursorText
from api.fields import Strict
from umbel.base.storable import StorableText
from umbel.gallery.facets import By
from umbel.insights.selection import Selection

PATTERN = r"^(label|metadata\.[\s\S]*)$"


def _groups(by: str) -> str:
    kinds = ("label", "metadata")
    try:
        known = By.parse(by).kind in kinds
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be label or metadata.KEY")
    return by


GroupBy = Annotated[
    StorableText,
    AfterValidator(_groups),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["label"]}),
    Field(
        description="`label` or `metadata.KEY`: the nearest image of each label, or of each value of the key. Images"
        " without one, or with a list or an object, are left out."
    ),
]


class Selected(Strict):
    """Which of the images that match are the answer, and from where on."""

    collapse: Literal["duplicates"] | None = Field(
        None,
        description="`duplicates`: of each group of near-duplicates, as they were last compared, the nearest image.",
    )
    group_by: GroupBy | None = None
    diversity: float = Field(
        0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="0: the nearest. Up to 1: images that differ from each other, chosen among the nearest (maximal"
        " marginal relevance), in the order of their choice. All on one page: there is no `next_cursor`.",
    )
    cursor: CursorText | None = None

    @model_validator(mode="after")
    def _combine(self) -> Self:
        if self.collapse and self.group_by:
            raise ValueError("collapse and group_by do not combine: one image of a group has no duplicates in it")
        if self.diversity and self.cursor:
            raise ValueError(
                "diversity and cursor do not combine: what differs depends on all that was chosen before, so all of it"
                " is on one page; ask for a larger k"
            )
        return self

    @property
    def selection(self) -> Selection:
        """The same, as searches take it."""
        by = None if self.group_by is None else By.parse(self.group_by)
        return Selection(self.collapse is not None, by, self.diversity)
