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


class CursorMismatch(InvalidInput):
    """The cursor is of another search: what is asked for must be the same on all its pages, apart from `k`."""

    code = "cursor_mismatch"


class NotFound(UmbelError):
    """No such path, image, job, collection or model version."""

    code = "not_found"


class Unauthenticated(UmbelError):
    """No key, or one that is not valid: unknown, expired, revoked."""

    code = "unauthenticated"


class Forbidden(UmbelError):
    """The key is valid, but not for this: its scope or its collections do not reach that far."""

    code = "forbidden"


class BadSignature(Forbidden):
    """A signed URL that has expired or was changed, or whose key is no longer valid."""

    code = "bad_signature"


class CrossSite(Forbidden):
    """A browser sent this on behalf of another site, or without the token that its own page would have sent."""

    code = "cross_site"


class UnknownHost(UmbelError):
    """The request is for a name under which this API is not called."""

    code = "unknown_host"


class Conflict(UmbelError):
    """The request contradicts the present state."""

    code = "conflict"


class CursorExpired(Conflict):
    """The model version that found the pages before is retired: search again from the first page."""

    code = "cursor_expired"


class ActionRefused(Conflict):
    """Jobs of this type cannot be closed, or not be cancelled."""

    code = "action_refused"


class TooFewLabels(Conflict):
    """A collection has too few labelled images for a calibration: `detail` says how many it has, and it needs."""

    code = "too_few_labels"


class ExternalIdTaken(Conflict):
    """Another image of the collection has this `external_id`, or has these bytes under another one."""

    code = "external_id_taken"


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class PreconditionFailed(UmbelError):
    """The request is meant for an earlier state of what it changes."""

    code = "precondition_failed"


class NotReady(UmbelError):
    """A part that the request needs is not there yet, or not there now; worth trying again."""

    code = "not_ready"


class NotInstalled(UmbelError):
    """This installation lacks an optional package; the detail says which, and how to install it."""

    code = "not_installed"


class TimedOut(NotReady):
    """A statement took longer than `statement_seconds`: Postgres ended it, and nothing was changed."""

    code = "timed_out"


class Busy(NotReady):
    """As many requests as may wait for the same thing do so already; worth trying again."""

    code = "busy"


class NotEmbedded(NotReady):
    """An image is in the gallery, and its vector is still being computed."""

    code = "not_embedded"


class TransientError(UmbelError):
    """A failure that may pass by itself: the item stays pending and is tried again."""

    code = "transient"


class Unreachable(TransientError):
    """A URL, or one file of a source, is not answered now. It may be gone for ever: see `url_tries`."""

    code = "unreachable"


class SourceUnreachable(Unreachable):
    """A bucket or a mounted folder does not answer: all that an import has there is concerned, see `source_tries`."""

    code = "source_unreachable"


class SourceGivenUp(UmbelError):
    """An image of a source that could not be reached for so long that its import was given up."""

    code = "source_given_up"


class QueueUnavailable(NotReady):
    """Redis cannot be reached, and the request cannot be answered without a worker."""

    code = "queue_unavailable"


class QueueFull(UmbelError):
    """More items wait already than `max_pending`; worth trying again later."""

    code = "queue_full"


class RateLimited(UmbelError):
    """More calls than `rate_limit`, or more wrong keys than `auth_failure_limit`.

    retry_after: seconds.
    """

    code = "rate_limited"

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class StorageFull(UmbelError):
    """The blob store takes no more bytes; nothing was written."""

    code = "storage_full"


class DumpFailed(UmbelError):
    """Postgres' own programs could not write the database to a file, or read it back; nothing was changed."""

    code = "dump_failed"


class BackupError(UmbelError):
    """A folder that holds no backup, not a whole one, or one that this version cannot read."""

    code = "backup"


class QuotaExceeded(UmbelError):
    """The collection has as many pictures, or as many bytes, as its quota lets it have; nothing was written."""

    code = "quota_exceeded"


class ModelNotFound(UmbelError):
    """No checkpoint could be found; the detail says where it was looked for and what to do."""

    code = "model_not_found"


class BadCheckpoint(UmbelError):
    """A checkpoint whose weights, card or preprocessing do not fit one another."""

    code = "bad_checkpoint"


class BadVectors(UmbelError):
    """A file of vectors that cannot be read, or does not fit the model version."""

    code = "bad_vectors"


class BadDataset(UmbelError):
    """A folder that cannot be trained on or evaluated."""

    code = "bad_dataset"


class InvalidSetting(UmbelError):
    """A setting whose value cannot be used."""

    code = "invalid_setting"


class StackError(UmbelError):
    """The stack on this machine cannot start, stop or be reached."""

    code = "stack"


class ImageError(UmbelError):
    """A picture that cannot be taken: the file's fault, so trying again is of no use."""

    code = "bad_image"


class EmptyFile(ImageError):
    """No bytes at all."""

    code = "empty_file"


class FileTooLarge(ImageError):
    """More bytes than `max_bytes`."""

    code = "file_too_large"


class UnsupportedImage(ImageError):
    """No picture of a kind that is taken, whatever its name says."""

    code = "unsupported_image"


class TooManyPixels(ImageError):
    """More pixels than `max_pixels`; refused before decoding."""

    code = "too_many_pixels"


class ImageTooSmall(ImageError):
    """A side below `min_side`: of a picture, or of the part of it in a `box`."""

    code = "image_too_small"


class CorruptImage(ImageError):
    """The header is a picture's but the rest cannot be decoded: truncated, damaged or malicious."""

    code = "corrupt_image"


class BlobMissing(ImageError):
    """The stored bytes of a picture are gone from the blob store."""

    code = "blob_missing"


class UnsafePath(ImageError):
    """A name that leads out of its source, or a link: never followed."""

    code = "unsafe_path"


class Unreadable(ImageError):
    """A listed file that cannot be read: gone, forbidden, encrypted or packed in an unknown way."""

    code = "unreadable"


class NestedArchive(ImageError):
    """An archive inside an archive: never unpacked."""

    code = "nested_archive"


class ArchiveBomb(ImageError):
    """Packed data that claims to unpack to far more than pictures ever do, or shares its bytes with other entries."""

    code = "archive_bomb"


class CorruptEntry(ImageError):
    """An archive's entry that is not what the archive's directory says."""

    code = "corrupt_entry"


class BadManifestLine(ImageError):
    """A line of a manifest that names no picture; the detail says which line and why."""

    code = "bad_manifest_line"


class AddressRefused(ImageError):
    """A URL that is not fetched: URLs are off, or it leads to an address that is not public."""

    code = "address_refused"


class SourceError(UmbelError):
    """A source of an import that cannot be opened, or not be listed to its end, or has no picture."""

    code = "source_error"


class TooManyVanished(SourceError):
    """More files of a sync are gone than its `max_vanished` allows: none of their images was removed."""

    code = "too_many_vanished"


class SourceTooLarge(SourceError):
    """More bytes than `archive_bytes` or more entries than `archive_entries`."""

    code = "source_too_large"


class UnsupportedArchive(SourceError):
    """Neither a zip nor a tar (plain, gzip, bzip2, xz), whatever its name says."""

    code = "unsupported_archive"


class UnsupportedManifest(SourceError):
    """No text, so neither CSV nor JSON Lines."""

    code = "unsupported_manifest"


class BadManifest(SourceError):
    """A manifest with a fault that concerns more than one row; the detail says where, and what to do."""

    code = "bad_manifest"


class DecoderDied(UmbelError):
    """A picture that its decoder did not survive: a crash, a hang, or more memory than it may have."""

    code = "poison"
