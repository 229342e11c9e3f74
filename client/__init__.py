"""The typed HTTP client of Umbel. Needs httpx and pydantic, and nothing else of this project."""

from client.client import Umbel
from client.errors import ApiError, UmbelClientError, Unreachable
from client.models import (
    Accepted,
    Collection,
    Comparison,
    Deletion,
    Duplicates,
    Identified,
    Image,
    Item,
    Job,
    LabelIssue,
    LabelIssues,
    Match,
    Model,
    ModelDetail,
    Ready,
    Reindex,
    SearchResult,
)

__all__ = [
    "Accepted",
    "ApiError",
    "Collection",
    "Comparison",
    "Deletion",
    "Duplicates",
    "Identified",
    "Image",
    "Item",
    "Job",
    "LabelIssue",
    "LabelIssues",
    "Match",
    "Model",
    "ModelDetail",
    "Ready",
    "Reindex",
    "SearchResult",
    "Umbel",
    "UmbelClientError",
    "Unreachable",
]
