"""What is handed out of an image instead of its file: the picture upright and without metadata, and a thumbnail.

Each is made once, by a decoder, and stored beside the image's bytes; where one was deleted, it is made again.
"""

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import BinaryIO

import structlog

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import BlobMissing, DecoderDied, StorageFull, TransientError
from umbel.base.locks import one_on_this_machine
from umbel.decoding.images import published_type
from umbel.decoding.pool import DecoderPool
from umbel.gallery.blob_cleanups import PUBLISHED, THUMBNAILS, list_used_blobs, lock_blobs, rendition_key
from umbel.gallery.images import ImageRow
from umbel.gallery.memory_files import MemoryFiles

log = structlog.get_logger()

LARGE = 8_000_000  # pixels of an image that takes hundreds of MB to decode
LOCKS = 64  # that keep two from making the same
REMEMBERED = 1_000  # images that killed their decoders
IN_MEMORY = 128 * 2**20  # bytes of renditions that are being sent while the disk is full
PART = 5 * 2**20  # bytes of a multipart upload, the least that S3 takes: they are held in memory


@dataclass(frozen=True, slots=True)
class Rendition:
    """One kind. write: has a decoder write it; media_type: of the rendition, by the image's own."""

    folder: str
    write: Callable[[DecoderPool, str, BinaryIO], Future[None]]
    media_type: Callable[[str], str]


PICTURE = Rendition(PUBLISHED, DecoderPool.write_published, published_type)
THUMBNAIL = Rendition(THUMBNAILS, DecoderPool.write_thumbnail, lambda _: "image/jpeg")


class Renditions:
    """The renditions of all images. For a process; any thread may use it."""

    def __init__(
        self,
        transaction: Transaction,
        blobs: Blobs,
        decoders: Callable[[], DecoderPool],
        *,
        place: Callable[[], AbstractContextManager[None]] = nullcontext,
        large_place: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """place: held while a thread waits for a rendition to be made; raises Busy. large_place: for large images."""
        self._transaction, self._blobs, self._decoders = transaction, blobs, decoders
        self._place, self._large_place = place, large_place
        self._memory = MemoryFiles(IN_MEMORY)
        self._died: dict[str, str] = {}  # what was said of images that their decoders did not survive, by key

    def size(self, image: ImageRow, rendition: Rendition) -> int | None:
        """Bytes; None for one that is not made yet. Raises TransientError."""
        with suppress(BlobMissing):
            return self._blobs.size(rendition_key(image.blob_key, rendition.folder))
        return None

    def open(self, image: ImageRow, rendition: Rendition) -> BinaryIO:
        """A seekable file, at its beginning. The first to open it, of all processes of this machine, has it made.

        Raises ImageError, DecoderDied (the image cannot be decoded any more), Busy, StorageFull, TransientError.
        """
        key = rendition_key(image.blob_key, rendition.folder)
        with suppress(BlobMissing):
            return self._blobs.open(key)
        with self._turn(key, large=image.width * image.height > LARGE):
            with suppress(BlobMissing):
                return self._blobs.open(key)
            return self._make(image, rendition, key)

    @contextmanager
    def _turn(self, key: str, *, large: bool) -> Iterator[None]:
        """Wait until nothing else makes the same; of large images one is decoded at a time. Raises Busy."""
        with ExitStack() as held:
            held.enter_context(self._large_place() if large else self._place())
            held.enter_context(one_on_this_machine(f"rendition-{zlib.crc32(key.encode()) % LOCKS}"))
            if large:
                held.enter_context(one_on_this_machine("rendition-large"))
            yield

    def _make(self, image: ImageRow, rendition: Rendition, key: str) -> BinaryIO:
        with ExitStack() as opened:
            file = opened.enter_context(self._written(image, rendition, key))
            try:
                self._store(image, key, file)
            except (StorageFull, TransientError) as error:  # it can be shown all the same
                log.warning("a rendition was not stored", key=key, error=str(error))
            file.seek(0)
            opened.pop_all()
        return file

    def _written(self, image: ImageRow, rendition: Rendition, key: str) -> BinaryIO:
        """A full disk takes no picture away from readers: then the file is in memory."""
        try:
            self._blobs.check_room(0)
            return self._write(image, rendition, key, TemporaryFile(dir=self._blobs.folder))
        except (OSError, StorageFull) as error:
            log.warning("a rendition is made in memory", key=key, error=str(error))
            return self._write(image, rendition, key, self._memory.new())

    def _write(self, image: ImageRow, rendition: Rendition, key: str, file: BinaryIO) -> BinaryIO:
        """The file, at its beginning again.

        An image that takes its decoder along is not tried again: it would keep the decoders from others.
        """
        with ExitStack() as opened:
            opened.enter_context(file)
            if said := self._died.get(key):
                raise DecoderDied(said)
            try:
                rendition.write(self._decoders(), image.blob_key, file).result()
            except DecoderDied as error:
                if len(self._died) < REMEMBERED:
                    self._died[key] = error.detail
                raise
            file.seek(0)
            opened.pop_all()
        return file

    def _store(self, image: ImageRow, key: str, file: BinaryIO) -> None:
        """Outside of any transaction, since a large one takes a while; then see whether the image is still there."""
        self._blobs.put_stream(key, file, part=PART, at_once=1)
        with self._transaction() as session:
            lock_blobs(session, [image.blob_key])
            if not list_used_blobs(session, [image.blob_key]):  # it would outlive an image that was removed meanwhile
                self._blobs.delete(key)
