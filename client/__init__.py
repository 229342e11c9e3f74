"""The typed HTTP client of Umbel. Needs httpx and pydantic, and nothing else of this project."""

from client.answers.collections import Collection
from client.answers.duplicates import DuplicateGroup, Duplicates, LabelIssue, LabelIssues
from client.answers.images import Image
from client.answers.jobs import Counts, Item, Job, Reindex
from client.answers.models import Model, ModelDetail
from client.answers.search import Identified, Match, SearchResult
from client.answers.service import Ready, Recall
from client.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    NotIndexed,
    NotReady,
    StillRunning,
    StorageFull,
    TooLarge,
    TooManyRequests,
    UmbelClientError,
    Unauthorized,
    Unreachable,
    UnsupportedPicture,
)
from client.folder import FolderUpload, PictureFile
from client.umbel import Umbel
from client.work import Upload, Work

__all__ = [
    "ApiError",
    "Collection",
    "Conflict",
    "Counts",
    "DuplicateGroup",
    "Duplicates",
    "FolderUpload",
    "Forbidden",
    "Identified",
    "Image",
    "InvalidRequest",
    "Item",
    "Job",
    "LabelIssue",
    "LabelIssues",
    "Match",
    "Model",
    "ModelDetail",
    "NotFound",
    "NotIndexed",
    "NotReady",
    "PictureFile",
    "Ready",
    "Recall",
    "Reindex",
    "SearchResult",
    "StillRunning",
    "StorageFull",
    "TooLarge",
    "TooManyRequests",
    "Umbel",
    "UmbelClientError",
    "Unauthorized",
    "Unreachable",
    "UnsupportedPicture",
    "Upload",
    "Work",
]
