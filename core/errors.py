"""What can go wrong, in the domain's words. No HTTP here: api/errors.py maps each class to a status."""


class UmbelError(Exception):
    """Base of every error that Umbel raises on purpose. `code` is stable; the message is for people."""

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidInput(UmbelError):
    """A value outside what the interface takes."""

    code = "invalid_input"


class NotFound(UmbelError):
    """No such image, job, collection or model version."""

    code = "not_found"


class Conflict(UmbelError):
    """The request contradicts the present state."""

    code = "conflict"


class NotReady(UmbelError):
    """A part that the request needs is not there yet, or not there now; worth trying again."""

    code = "not_ready"


class TransientError(UmbelError):
    """A failure that may pass by itself: the item stays pending and is tried again."""

    code = "transient"


class QueueUnavailable(NotReady):
    """Redis cannot be reached, and the request cannot be answered without a worker."""

    code = "queue_unavailable"


class StorageFull(UmbelError):
    """The blob store takes no more bytes; nothing was written."""

    code = "storage_full"


class ModelNotFound(UmbelError):
    """No checkpoint could be found; the detail says where it was looked for and what to do."""

    code = "model_not_found"


class BadCheckpoint(UmbelError):
    """A checkpoint whose weights, card or preprocessing do not fit one another."""

    code = "bad_checkpoint"


class BadDataset(UmbelError):
    """A folder that cannot be trained on or evaluated."""

    code = "bad_dataset"


class StackError(UmbelError):
    """The stack on this machine cannot start, stop or be reached."""

    code = "stack"


class PictureError(UmbelError):
    """A picture that cannot be taken: the file's fault, so trying again is of no use."""

    code = "bad_picture"


class EmptyFile(PictureError):
    """No bytes at all."""

    code = "empty_file"


class FileTooLarge(PictureError):
    """More bytes than `max_bytes`."""

    code = "file_too_large"


class UnsupportedPicture(PictureError):
    """Not a JPEG, PNG or WebP, whatever its name says."""

    code = "unsupported_picture"


class TooManyPixels(PictureError):
    """More pixels than `max_pixels`; refused before decoding."""

    code = "too_many_pixels"


class PictureTooSmall(PictureError):
    """A side below `min_side`."""

    code = "picture_too_small"


class CorruptPicture(PictureError):
    """The header is a picture's but the rest cannot be decoded: truncated, damaged or malicious."""

    code = "corrupt_picture"


class BlobMissing(PictureError):
    """The stored bytes of a picture are gone from the blob store."""

    code = "blob_missing"
