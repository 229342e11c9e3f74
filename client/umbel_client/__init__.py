"""The typed HTTP client of Umbel. It needs httpx, httpx-retries and anyio, and nothing else of this project."""

from umbel_client.admin import AuditEvent, Recall
from umbel_client.aio import AsyncUmbel
from umbel_client.collections import Collection, Tiling
from umbel_client.curation import LabelNext, Outliers, Representatives
from umbel_client.duplicates import DuplicateGroup, Duplicates, LabelIssue, LabelIssues
from umbel_client.errors import (
    ApiError,
    BadSignature,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotEmbedded,
    NotFound,
    NotIndexed,
    NotReady,
    PreconditionFailed,
    StillRunning,
    StorageFull,
    TooLarge,
    TooManyRequests,
    UmbelClientError,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
    UnsupportedImage,
)
from umbel_client.events import Event
from umbel_client.facets import Facet, Facets
from umbel_client.folder import FolderUpload, ImageFile
from umbel_client.images import Image, SignedUrls, Upload
from umbel_client.jobs import Counts, Item, Job, Reindex, Work
from umbel_client.keys import Key, NewKey
from umbel_client.models import Model, ModelDetail
from umbel_client.queries import Search, SearchOptions
from umbel_client.search import Embedded, Identified, Match, SearchResult
from umbel_client.syncs import Sync, SyncRun
from umbel_client.trash import TrashedImage
from umbel_client.umbel import Ready, Umbel
from umbel_client.webhooks import Delivery, NewWebhook, Webhook, verify_webhook

__all__ = [
    "ApiError",
    "AsyncUmbel",
    "AuditEvent",
    "BadSignature",
    "Collection",
    "Conflict",
    "Counts",
    "Delivery",
    "DuplicateGroup",
    "Duplicates",
    "Embedded",
    "Event",
    "Facet",
    "Facets",
    "FolderUpload",
    "Forbidden",
    "Identified",
    "Image",
    "ImageFile",
    "InvalidRequest",
    "Item",
    "Job",
    "Key",
    "LabelIssue",
    "LabelIssues",
    "LabelNext",
    "Match",
    "Model",
    "ModelDetail",
    "NewKey",
    "NewWebhook",
    "NotEmbedded",
    "NotFound",
    "NotIndexed",
    "NotReady",
    "Outliers",
    "PreconditionFailed",
    "Ready",
    "Recall",
    "Reindex",
    "Representatives",
    "Search",
    "SearchOptions",
    "SearchResult",
    "SignedUrls",
    "StillRunning",
    "StorageFull",
    "Sync",
    "SyncRun",
    "Tiling",
    "TooLarge",
    "TooManyRequests",
    "TrashedImage",
    "Umbel",
    "UmbelClientError",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
    "UnsupportedImage",
    "Upload",
    "Webhook",
    "Work",
    "verify_webhook",
]
