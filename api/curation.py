"""/v1/outliers, /v1/representatives, /v1/label-next: which images to look at, by what a comparison has stored."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import BaseModel, Field

from api import rooms
from api.access import within
from api.errors import problems
from api.fields import (
    CollectionName,
    FilterText,
    Limit,
    Links,
    NextCursor,
    Strict,
    VersionToUse,
    answer_of,
    image_links,
)
from api.ranked_pages import cursor_of, place_of, ranked_cursor
from umbel.base.database import transaction
from umbel.gallery.filters import Filter
from umbel.insights.outliers import Outlier, find_outliers
from umbel.insights.representatives import Representative, Suggestion, find_representatives, find_worth_labelling

bp = APIBlueprint("curation", __name__, tag="Curation")


class CurationQuery(Strict):
    collection: CollectionName | None = None
    filter: FilterText = Field(default_factory=Filter)
    model_version: VersionToUse = None
    limit: Limit = 50


class OutliersQuery(CurationQuery):
    cursor: Annotated[str, *ranked_cursor(2.001)] | None = None  # a cosine distance with its rounding


class CuratedOut(BaseModel):
    image_id: UUID
    collection: str = Field(examples=["garden"])
    name: str | None = Field(examples=["tulips/1.jpg"])
    external_id: str | None = Field(examples=["sku-1042"])
    label: str | None = Field(examples=["tulip"])
    links: Links


class ComparedOut(BaseModel):
    model_version: UUID
    compared: int = Field(description="Images of the collection that were compared.")
    waiting: int = Field(description="Images that have not been compared yet: POST /v1/duplicates.")


class OutlierOut(CuratedOut):
    distance: float = Field(description="Cosine distance to the farthest of its 16 nearest, 0 to 2.", examples=[0.71])
    usual: float = Field(description="The median of these distances in its collection.", examples=[0.28])
    times_usual: float | None = Field(description="`distance` by `usual`; null where that is 0.", examples=[2.54])
    assessment: str = Field(description="The same in words.", examples=["very unlike the rest"])
    compared_at: datetime


class OutliersOut(ComparedOut):
    items: list[OutlierOut]
    next_cursor: NextCursor


class RepresentativeOut(CuratedOut):
    stands_for: int = Field(
        description="Images that are more similar to it than to the others listed, itself included.", examples=[12]
    )


class RepresentativesOut(ComparedOut):
    items: list[RepresentativeOut] = Field(description="The first few are the choice of so few.")
    considered: int = Field(description="Images that pass the filter and were compared.", examples=[480])
    coverage: float = Field(
        description="Mean similarity of these images to the one that stands for each, 0 to 1; 0 for images that are"
        " among the nearest of none listed.",
        examples=[0.62],
    )


class SuggestionOut(CuratedOut):
    suggested_label: str | None = Field(description="That its neighbors favor; null: none of them has a label.")
    confidence: float = Field(description="In the suggested label, 0 to 1: low where neighbors disagree or are far.")
    stands_for: int = Field(
        description="Images whose label is not clear and that are most similar to it, itself included.", examples=[12]
    )


class LabelNextOut(ComparedOut):
    items: list[SuggestionOut] = Field(description="The one whose label would tell most first.")
    labelled: int = Field(description="Of the images that pass the filter and were compared.", examples=[120])
    unlabelled: int = Field(description="The others of these.", examples=[360])


@bp.get("/v1/outliers")
@bp.input(OutliersQuery, location="query", arg_name="query")
@bp.output(OutliersOut)
@bp.doc(responses=problems(404))
def list_outliers(query: OutliersQuery) -> Any:
    """List the images that pass a filter, those that are least like anything else of their collection first.

    POST /v1/duplicates compares what is new.
    """
    with transaction() as session:
        found = find_outliers(
            session,
            query.filter,
            collection=within(query.collection),
            version_id=query.model_version,
            after=place_of(query.cursor) if query.cursor else None,
            limit=query.limit + 1,
        )
    page, more = found.outliers[: query.limit], len(found.outliers) > query.limit
    return answer_of(
        OutliersOut,
        found.progress,
        items=[_outlier_out(one) for one in page],
        next_cursor=cursor_of(page[-1].distance, page[-1].id) if more else None,
        model_version=found.version_id,
    )


@bp.get("/v1/representatives")
@bp.input(CurationQuery, location="query", arg_name="query")
@bp.output(RepresentativesOut)
@bp.doc(responses=problems(404, 503))
def list_representatives(query: CurationQuery) -> Any:
    """List the images that together stand best for all that pass a filter: `limit` of them, the most typical first."""
    with rooms.graphs().place(), transaction() as session:
        found = find_representatives(
            session,
            query.filter,
            collection=within(query.collection),
            version_id=query.model_version,
            limit=query.limit,
        )
    items = [_curated(RepresentativeOut, one) for one in found.images]
    return answer_of(
        RepresentativesOut,
        found,
        items=items,
        coverage=round(found.coverage, 4),
        model_version=found.version_id,
        compared=found.progress.compared,
        waiting=found.progress.waiting,
    )


@bp.get("/v1/label-next")
@bp.input(CurationQuery, location="query", arg_name="query")
@bp.output(LabelNextOut)
@bp.doc(responses=problems(404, 503))
def list_label_next(query: CurationQuery) -> Any:
    """List the images without a label that are most worth one, by the labels as they are now.

    They are typical of images whose label is not clear, and unlike each other. Label some, and ask again.
    """
    with rooms.graphs().place(), transaction() as session:
        found = find_worth_labelling(
            session,
            query.filter,
            collection=within(query.collection),
            version_id=query.model_version,
            limit=query.limit,
        )
    return answer_of(
        LabelNextOut,
        found,
        items=[_suggestion_out(one) for one in found.images],
        model_version=found.version_id,
        compared=found.progress.compared,
        waiting=found.progress.waiting,
    )


def _outlier_out(one: Outlier) -> OutlierOut:
    times = None if one.times_usual is None else round(one.times_usual, 3)
    return answer_of(OutlierOut, one, image_id=one.id, times_usual=times, links=image_links(one.id))


def _suggestion_out(one: Suggestion) -> SuggestionOut:
    return _curated(SuggestionOut, one.image, suggested_label=one.suggested_label, confidence=one.confidence)


def _curated(kind: Any, image: Representative, **values: Any) -> Any:
    return answer_of(kind, image, links=image_links(image.image_id), **values)
