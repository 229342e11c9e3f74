"""The typed HTTP client of Umbel. Needs httpx and pydantic, and nothing else of this project."""

from client.client import Umbel
from client.errors import ApiError, UmbelClientError, Unreachable
from client.models import Accepted, Image, Item, Job, Match, Ready, SearchResult

__all__ = [
    "Accepted",
    "ApiError",
    "Image",
    "Item",
    "Job",
    "Match",
    "Ready",
    "SearchResult",
    "Umbel",
    "UmbelClientError",
    "Unreachable",
]
