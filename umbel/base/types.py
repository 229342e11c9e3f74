"""The words that every room shares: queues, states, and the protocol of an embedder."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from umbel.base.progress import Progress

Vector = NDArray[np.float32]  # (dim,), unit length
Vectors = NDArray[np.float32]  # (n, dim), each row of unit length
Plane = NDArray[np.float32]  # (n, 2), x and y in [0, 1]
Pixels = NDArray[np.uint8]  # (height, width, 3), RGB, as the model's preprocessing left it


class Box(NamedTuple):
    """A part of an image: left, top, width, height, in shares of the whole as viewers show it (EXIF applied)."""

    x: float
    y: float
    width: float
    height: float


class Queue(StrEnum):
    """A queue of work. The value is the queue's name in Redis and, for items, in the ledger."""

    QUERY = "query"  # pictures to search by: someone is waiting
    SINGLE = "single"  # uploads, one at a time
    BULK = "bulk"  # imports
    FETCH = "fetch"  # sources of imports: listed, and their pictures read
    INDEX = "index"  # HNSW indexes built after a load
    COMPARE = "compare"  # pictures compared with their collection
    REINDEX = "reindex"  # every picture embedded once more, by another model version
    DELETE = "delete"  # pictures of deleted collections
    CHANGE = "change"  # pictures changed, removed or restored by the many
    MAP = "map"  # maps of the gallery
    EVENTS = "events"  # published, and delivered to webhooks
    MAINTENANCE = "maintenance"  # the sweep


# Items of pictures that are in the gallery already: they do not tell how far a picture's own embedding is.
LATER_QUEUES = (Queue.COMPARE, Queue.REINDEX, Queue.DELETE, Queue.CHANGE)


class JobType(StrEnum):
    UPLOAD = "upload"
    IMPORT = "import"
    REPAIR = "repair"  # what `umbel reconcile --repair` embeds again
    COMPARISON = "comparison"  # pictures compared with their collection: duplicates, doubtful labels
    REINDEX = "reindex"  # every picture embedded by another model version, or the active index built anew
    DELETION = "deletion"  # a collection removed with all that it has
    MAP = "map"  # the pictures laid out in the plane
    CHANGE = "change"  # labels and metadata of many pictures
    REMOVAL = "removal"  # many pictures, into the trash
    RESTORATION = "restoration"  # many pictures, out of the trash
    PURGE = "purge"  # many pictures of the trash, for ever
    TILING = "tiling"  # tiles of the pictures of a collection, which it did not have before
    SYNC = "sync"  # one run of a sync: what is new, changed or gone in its source


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"  # finished, some items failed
    FAILED = "failed"  # finished, every item failed
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    PENDING = "pending"
    INDEXED = "indexed"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EventType(StrEnum):
    JOB_QUEUED = "job.queued"
    JOB_RUNNING = "job.running"
    JOB_PAUSED = "job.paused"
    JOB_RESUMED = "job.resumed"
    JOB_FINISHED = "job.finished"  # succeeded, or some items failed
    JOB_FAILED = "job.failed"  # every item failed
    JOB_CANCELLED = "job.cancelled"
    IMAGE_INDEXED = "image.indexed"  # searches find it
    IMAGE_FAILED = "image.failed"
    IMAGE_CHANGED = "image.changed"  # its label, metadata or external id, or its picture
    IMAGE_DELETED = "image.deleted"
    IMAGE_RESTORED = "image.restored"  # out of the trash
    MODEL_SWITCHED = "model.switched"
    MODEL_ROLLED_BACK = "model.rolled_back"


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up


class ModelState(StrEnum):
    REGISTERED = "registered"  # known; of the pictures it may have some
    BACKFILLING = "backfilling"  # a reindex embeds all pictures with it, and new ones are embedded with it too
    READY = "ready"  # it has all pictures, and gets the new ones too: it can become active at any moment
    ACTIVE = "active"  # searches use it
    RETIRED = "retired"  # its vectors are gone


EXTERNAL = "external"  # the architecture of a version whose vectors others compute and bring


class ReindexMode(StrEnum):
    EMBEDDINGS = "embeddings"  # every picture embedded by a model version, beside the active one
    INDEX = "index"  # the active version's HNSW index built anew, beside the old one


class IndexKind(StrEnum):
    HALFVEC = "halfvec"  # the vectors, in half precision
    BITS = "bits"  # the signs of their numbers; what is found by them is ranked by the vectors


class ReindexPhase(StrEnum):
    LISTING = "listing"  # pictures that have no vector of the version yet become items
    EMBEDDING = "embedding"
    INDEXING = "indexing"  # the HNSW index is built
    EVALUATING = "evaluating"  # the version, or the index, is compared with what is active
    SWITCHING = "switching"
    DONE = "done"


class Embedder(Protocol):
    """Turns picture files into embeddings with one model version. Loaded once a process, never before a fork."""

    @property
    def weights_sha256(self) -> str:
        """Hash that names the model version, hex."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def device(self) -> str:
        """Where the model runs."""
        ...

    @property
    def description(self) -> str:
        """Where and how it runs, for people: device, runtime, arithmetic, agreement with the reference."""
        ...

    @property
    def batch_size(self) -> int:
        """Most pictures that one call should bring."""
        ...

    def decode(self, data: bytes, box: Box | None = None) -> Pixels:
        """File bytes → pixels ready for `embed`; box: of this part alone. Thread-safe. Raises ImageError."""
        ...

    def embed(self, pixels: Sequence[Pixels], *, background: bool = False) -> Vectors:
        """At most `batch_size` decoded pictures → one unit vector each, in order. Thread-safe.

        background: no request waits for them, so other work on this machine goes first.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image is. Width and height in pixels, as seen. note: what is to be said of a damaged one."""

    media_type: str
    width: int
    height: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ImageSignature:
    """What comparing pixels needs of an image. pixels: (64, 64), grey, the whole image squashed to a square.

    sharpness: of two images of one subject, the sharper one has more; it says nothing of different subjects.
    """

    sharpness: float
    pixels: NDArray[np.uint8]


class Decoder(Protocol):
    """Decodes pictures where they can do no harm. Any thread may use it; nothing here blocks.

    The futures raise ImageError, TransientError (blob store, closing) and DecoderDied (crash, hang, memory).
    """

    def decode(self, image: bytes | str, *, box: Box | None = None, urgent: bool = False) -> Future[Pixels]:
        """Pixels ready for an embedder, of file bytes or of the blob with this key.

        box: of this part alone. urgent: before all that are not.
        """
        ...

    def decode_parts(self, blob_key: str, boxes: Sequence[Box]) -> Future[list[Pixels]]:
        """Pixels of each of these parts of the picture in this blob, which is decoded once, however small they are."""
        ...

    def inspect(self, data: bytes) -> Future[ImageInfo]:
        """Type and size of the picture in these file bytes, and that it decodes."""
        ...

    def inspect_and_decode(self, data: bytes) -> Future[tuple[ImageInfo, Pixels]]:
        """What `inspect` and `decode` give, in one visit."""
        ...

    def signature(self, blob_key: str) -> Future[ImageSignature]:
        """The signature of the picture in this blob."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model version in this process, ready to embed. decoder: what makes pixels for this embedder."""

    version_id: UUID
    embedder: Embedder
    decoder: Decoder


class Models(Protocol):
    """The model versions that a process holds. Any thread may use it.

    loading: of one that is being loaded, which may hang on a disk or a driver.
    """

    loading: Progress

    def load(self, versions: Sequence[UUID]) -> list[LoadedModel]:
        """These versions, loaded if they are not yet; others are let go where memory is short.

        Raises NotReady, TransientError, BadCheckpoint.
        """
        ...


class PixelSimilarities(Protocol):
    """Compares pictures pixel by pixel: ml.data.duplicates.quick_pixel_similarities, which services are handed."""

    def __call__(self, thumbs: NDArray[np.uint8], pairs: NDArray[np.intp], /) -> NDArray[np.float32]:
        """thumbs: (N, side, side) grey; pairs: (P, 2) of them → (P,) from −1 to 1 for one picture."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric of the active model and of a candidate, in [0, 1]; low, high: 95 % interval of candidate − active."""

    active: float
    candidate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models judged on the same pictures. queries: those that have another picture of their class."""

    queries: int
    classes: int
    metrics: dict[str, Compared]


class Compare(Protocol):
    """Judges two models on labelled pictures: ml.evaluation.intervals.compare_models, which services are handed."""

    def __call__(
        self, active: Vectors, candidate: Vectors, labels: NDArray[np.intp], /, *, by_class: bool
    ) -> Comparison:
        """active: (N, D), candidate: (N, E), unit length; labels: (N,). by_class: they are a sample of more classes."""
        ...
