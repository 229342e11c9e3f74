"""/v1/facets: what the images that pass a filter have in common, counted."""

from typing import Annotated, Any

from apiflask import APIBlueprint
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from sqlalchemy.orm import Session

from api.access import within
from api.errors import problems
from api.fields import CollectionName, FilterText, Limit, Strict, answer_of
from umbel.base.replicas import read
from umbel.base.storable import StorableText
from umbel.gallery import collections
from umbel.gallery.facets import PATTERN, WAYS, By, Facets, count_facets
from umbel.gallery.filters import Filter

bp = APIBlueprint("facets", __name__, tag="Images")


def _checked(by: str) -> str:
    By.parse(by)
    return by


class FacetsQuery(Strict):
    by: Annotated[
        StorableText,
        AfterValidator(_checked),
        WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["label"]}),
        Field(description=f"What is counted by: {WAYS}."),
    ]
    collection: CollectionName | None = None
    filter: FilterText = Field(default_factory=Filter)
    limit: Limit = 50


class FacetOut(BaseModel):
    value: str | int | float | bool | None = Field(examples=["tulip"])
    count: int = Field(description="Images that have it.", examples=[12])
    filter: dict[str, Any] | None = Field(
        description="A filter that these images pass; null for a collection, which has a parameter of its own.",
        examples=[{"label": ["tulip"]}],
    )


class FacetsOut(BaseModel):
    by: str = Field(examples=["label"])
    values: list[FacetOut] = Field(description="The most frequent first; years, months and days the newest first.")
    further: int = Field(description="How many values there are beyond these.", examples=[0])
    images: int = Field(description="That pass the filter.", examples=[17])
    missing: int = Field(description="Of these, images without a value.", examples=[5])


@bp.get("/v1/facets")
@bp.input(FacetsQuery, location="query", arg_name="query")
@bp.output(FacetsOut)
@bp.doc(responses=problems(404))
def list_facets(query: FacetsQuery) -> Any:
    """Count the images that pass a filter: by label, by the values of a metadata key, by collection or by time.

    An image whose metadata has a list under the key counts for each scalar in it. Each value comes with the filter that
    its images pass.
    """
    collection = within(query.collection)

    def count(session: Session) -> Facets:
        collections.id_of(session, query.collection)  # raises; the one that a key is for may still have to come
        return count_facets(session, By.parse(query.by), query.filter, collection=collection, limit=query.limit)

    found = read(count)
    values = [answer_of(FacetOut, one) for one in found.values]
    return answer_of(FacetsOut, found, by=query.by, values=values)
