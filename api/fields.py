"""Fields that several resources share: names, limits and pages."""

import json
import re
from base64 import b64decode
from json import JSONDecodeError
from typing import Annotated, Any, Literal, Protocol, TypeVar
from urllib.parse import unquote
from uuid import UUID

from apiflask.fields import UploadFile
from flask import request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from umbel_files.names import LONGEST_EXTERNAL_ID, LONGEST_LABEL, printable
from werkzeug.datastructures import FileStorage

from umbel.base.storable import COLLECTION_NAME, NormalizedText, StorableObject, StorableText, parse_json
from umbel.base.types import Box
from umbel.gallery.filters import Filter


class HasId(Protocol):
    """A row of a list."""

    @property
    def id(self) -> UUID: ...


SOME_FILTER = {"label": ["tulip"], "metadata": {"year": {"gte": 2020}}}  # an example

T = TypeVar("T", bound=HasId)
Answer = TypeVar("Answer", bound=BaseModel)


def json_object(value: Any) -> Any:
    """Metadata may come as JSON text (in a form) or as an object (in a JSON body, which was parsed so already)."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except JSONDecodeError as error:
        raise ValueError("must be a JSON object") from error


def _file(value: Any) -> Any:
    if not isinstance(value, FileStorage):
        raise ValueError("must be a file: a part of a multipart/form-data body, with a filename")
    return value


def _decoded(text: Any) -> bytes:
    """The bytes of base64 in any of its forms: in lines, URL-safe, unpadded, as a data: URL. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("must be text, base64")
    text = text.strip()
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().rstrip().endswith(";base64"):
            raise ValueError("is a data: URL without ;base64 before its comma")
        text = unquote(text)
    text = "".join(text.split()).translate(URL_SAFE).rstrip("=")
    if strange := NOT_BASE64.search(text):
        raise ValueError(f"is not base64: {strange[0]!r} is none of its characters")
    if len(text) % 4 == 1 or not text:
        raise ValueError("is not base64: it is empty or cut short")
    return b64decode(text + "=" * (-len(text) % 4))


def _inside(box: Box) -> Box:
    if not all(0 <= share <= 1 for share in box):
        raise ValueError("must be four shares of the picture, each from 0 to 1")
    if box.width == 0 or box.height == 0:
        raise ValueError("has no area: width and height must be above 0")
    if max(box.x + box.width, box.y + box.height) > 1 + ROUNDING:
        raise ValueError("reaches beyond the picture: x + width and y + height must be at most 1")
    return box


def _numbers(text: Any) -> Any:
    """The parts of `0.1,0.2,0.5,0.5`, also in brackets, as JSON has them."""
    if not isinstance(text, str):
        raise ValueError("must be text: four numbers with commas between them")
    return text.strip().removeprefix("[").removesuffix("]").split(",")


ROUNDING = 1e-6  # a sum of shares may be off by
SOME_BOX = [0.25, 0.25, 0.5, 0.5]
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
ABOUT_BOX = Field(
    description="Only this part of the picture is searched by: x, y, width, height, as shares of its width and height"
    " as viewers show it. Each side must cover `UMBEL_MIN_SIDE` pixels."
)
BOX: Any = {"type": "array", "items": SHARE, "minItems": 4, "maxItems": 4, "examples": [SOME_BOX]}
PartOfImage = Annotated[
    Annotated[Box, AfterValidator(_inside), WithJsonSchema(BOX)] | None,
    ABOUT_BOX,
]
# In a form.
PartOfImageText = Annotated[
    Annotated[
        Box,
        BeforeValidator(_numbers),
        AfterValidator(_inside),
        WithJsonSchema({"type": "string", "examples": [",".join(map(str, SOME_BOX))]}),
    ]
    | None,
    ABOUT_BOX,
]
File = Annotated[UploadFile, BeforeValidator(_file)]
URL_SAFE = str.maketrans("-_", "+/")
NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
Base64 = Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema({"type": "string", "format": "byte"})]
Label = Annotated[NormalizedText, Field(min_length=1, max_length=LONGEST_LABEL, examples=["tulip"])]
ExternalId = Annotated[
    NormalizedText,
    Field(
        min_length=1,
        max_length=LONGEST_EXTERNAL_ID,
        description="Your own id of the image, unique in its collection.",
        examples=["sku-1042"],
    ),
]
Name = Annotated[
    StorableText,
    AfterValidator(printable),
    Field(description="File name or path, for people; of one longer than 1,000 characters the end is kept."),
]
CollectionName = Annotated[
    str, Field(pattern=f"^{COLLECTION_NAME}$", description="Name of a collection.", examples=["garden"])
]
VersionToUse = Annotated[
    UUID | None, Field(description="Whose vectors; left out: the active version's. For external versions, say.")
]
# As `collection` of what adds images.
IntoCollection = Annotated[
    CollectionName | None, Field(description="Left out: that of the key, if it is for one; else `default`.")
]
Metadata = Annotated[
    StorableObject,
    BeforeValidator(json_object),
    Field(examples=[{"camera": "X100V"}], description="A JSON object of your own."),
]
With = Annotated[
    list[Literal["vector"]],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(alias="with", examples=[["vector"]], description="`vector`: also the vector of each image found."),
]
# As a query has it.
WithOne = Annotated[
    Literal["vector"] | None, Field(alias="with", description="`vector`: also the vector of each image.")
]
VectorOut = Annotated[
    list[float] | None,
    Field(
        exclude_if=lambda value: value is None,
        description="Unit length, as it is kept: in half precision. Only where it was asked for with `with`.",
        examples=[[0.6, -0.8]],
    ),
]
# In a query, where a parameter is text.
FilterText = Annotated[
    Filter,
    BeforeValidator(json_object),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json", "examples": [json.dumps(SOME_FILTER)]}),
    Field(description="A filter as JSON, as in the body of a search."),
]
K = Annotated[int, Field(ge=1, le=1_000, description="How many matches.")]
MaxDistance = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False, description="Cosine distance, 0 to 2.")]
NO_CURSOR = "must be the `next_cursor` of the page before"
Cursor = Annotated[UUID, Field(description="`next_cursor` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=500, description="Items of a page.")]
NextCursor = Annotated[
    str | None, Field(description="Ask with it for the next page; null: this is the last.", examples=[None])
]
Links = Annotated[
    dict[str, str],
    Field(
        description="Where to go from here, by name.",
        examples=[{"self": "/v1/images/019b2f6e-0000-7000-8000-000000000000"}],
    ),
]
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # an example


class Strict(BaseModel):
    """A body or query that rejects unknown fields, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class PageQuery(Strict):
    """The query of a list that comes in pages."""

    limit: Limit = 50
    cursor: Cursor | None = None


def answer_of(kind: type[Answer], row: object, /, **others: Any) -> Answer:
    """An answer of this kind: its fields are those of `row` of the same names, and `others`."""
    fields = {name: getattr(row, name) for name in kind.model_fields if name not in others}
    return kind.model_validate(fields | others)


def link_to(path: str) -> str:
    """A path of the API as clients reach it: behind a proxy, below the path that the proxy serves it under."""
    return f"{request.script_root}{path}"


def image_links(image_id: UUID, *more: str) -> dict[str, str]:
    """The links of an image, and those to `more` parts of it."""
    link = link_to(f"/v1/images/{image_id}")
    return {"self": link} | {part: f"{link}/{part}" for part in ("file", "thumbnail", *more)}


def page_of(rows: list[T], limit: int) -> tuple[list[T], str | None]:
    """The page's rows, and the cursor of the next page if there is one. `rows` were queried with limit + 1."""
    page = rows[:limit]
    return page, str(page[-1].id) if len(rows) > limit else None
