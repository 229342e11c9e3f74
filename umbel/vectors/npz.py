"""Vectors as npz, which numpy.load opens: arrays of the ids, labels and vectors, and a line of JSON for each image."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

import numpy as np

from umbel.base.errors import BadVectors
from umbel.base.types import Vectors
from umbel.vectors import rows
from umbel.vectors.rows import ExportedRows, FileFacts, GivenRows
from umbel.vectors.streams import Outgoing

IDS, LABELS, VECTORS, LINES, FACTS = "ids.npy", "labels.npy", "vectors.npy", "images.jsonl", "model.json"
AT_ONCE = 2**20  # bytes sent at a time
LINES_AT_ONCE = 10_000
LONGEST_LINE = 2**20  # bytes
LONGEST_TEXT = 1_000  # characters of an id or a label
UNREADABLE = (BadZipFile, ZlibError, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


def write_npz(facts: FileFacts, batches: Iterator[ExportedRows], spool: Callable[[], IO[bytes]]) -> Iterator[bytes]:
    """An npz file, as it is written. spool: makes a file that is gone when it is closed.

    An array says first how long it is, so all is read into the spool before the first byte is sent. Members: `ids`
    (n,) text, `labels` (n,) text, empty where there is none, `vectors` (n, dim) float32; `images.jsonl`, a line an
    image with all texts and the metadata; `model.json`. Raises OSError.
    Source: NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
    """
    with ExitStack() as stack:
        lines, vectors = stack.enter_context(spool()), stack.enter_context(spool())
        count, longest = 0, 1
        for some in batches:
            vectors.write(some.vectors.astype("<f4").tobytes())
            lines.writelines(_lines(some))
            longest = max([longest, *(len(label) for label in some.labels if label)])
            count += len(some.image_ids)
        outgoing = Outgoing()
        with ZipFile(outgoing, "w") as packed:
            packed.writestr(FACTS, json.dumps(facts.as_dict()))
            for name, field, width in ((IDS, "image_id", 36), (LABELS, "label", longest)):
                texts = _texts(lines, field, f"<U{width}")
                yield from _member(packed, outgoing, name, _array(f"<U{width}", (count,), texts))
            yield from _member(packed, outgoing, LINES, _chunks(lines))
            shape = (count, facts.dim)
            yield from _member(packed, outgoing, VECTORS, _array("<f4", shape, _chunks(vectors)), packing=ZIP_STORED)
        yield outgoing.take()


def _lines(some: ExportedRows) -> Iterator[bytes]:
    columns = (some.image_ids, some.collections, some.names, some.external_ids, some.labels, some.sha256, some.metadata)
    for image_id, collection, name, external_id, label, sha256, metadata in zip(*columns, strict=True):
        row = {"image_id": image_id, "collection": collection, "name": name, "external_id": external_id, "label": label}
        row["sha256"] = sha256
        yield (json.dumps(row)[:-1] + f', "metadata": {metadata}}}\n').encode()


def _member(
    packed: ZipFile, outgoing: Outgoing, name: str, parts: Iterator[bytes], packing: int = ZIP_DEFLATED
) -> Iterator[bytes]:
    info = ZipInfo(name)
    info.compress_type = packing
    with packed.open(info, "w", force_zip64=True) as member:
        for part in parts:
            member.write(part)
            if sent := outgoing.take():
                yield sent


def _array(kind: str, shape: tuple[int, ...], parts: Iterator[bytes]) -> Iterator[bytes]:
    header = io.BytesIO()
    described: Any = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    yield header.getvalue()
    yield from parts


def _texts(lines: IO[bytes], field: str, kind: str) -> Iterator[bytes]:
    """One field of the lines as parts of an array; empty where it is null."""
    lines.seek(0)
    while some := list(islice(lines, LINES_AT_ONCE)):
        yield np.array([json.loads(line)[field] or "" for line in some], kind).tobytes()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(AT_ONCE):
        yield chunk


class NpzVectors:
    """An npz file of vectors: `ids` (n,) text and `vectors` (n, dim) numbers, as `numpy.savez` writes them.

    `labels` (n,) text, empty where there is none, may be there; so may `images.jsonl`, a line of JSON for each row with
    its `metadata`. Raises BadVectors.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._file = ZipFile(file)
            names = self._file.namelist()
            if not {IDS, VECTORS} <= set(names):
                raise BadVectors(f"The file needs the arrays `ids` and `vectors`; it has {names[:10]}.")
            self._optional = [name for name in (LABELS, LINES) if name in names]
            with self._file.open(VECTORS) as member:
                shape, kind = _header(member, VECTORS)
        except UNREADABLE as error:
            raise BadVectors(f"The file cannot be read as npz: {error}.") from error
        if len(shape) != 2 or kind.kind != "f" or shape[1] == 0:
            raise BadVectors(f"The array `vectors` must be (n, dim) floating-point numbers; it is {shape} of {kind}.")
        self.count, self.dim = shape

    def batches(self) -> Iterator[GivenRows]:
        """All rows. Raises BadVectors."""
        try:
            with ExitStack() as stack:
                opened = {name: stack.enter_context(self._file.open(name)) for name in (IDS, VECTORS, *self._optional)}
                kinds = {name: self._kind(opened[name], name) for name in opened if name != LINES}
                for start in range(0, self.count, rows.BATCH):
                    size = min(rows.BATCH, self.count - start)
                    yield self._rows(opened, kinds, size)
        except UNREADABLE as error:
            raise BadVectors(f"The file cannot be read as npz: {error}.") from error

    def _kind(self, member: IO[bytes], name: str) -> Any:
        shape, kind = _header(member, name)
        if name != VECTORS and (shape != (self.count,) or kind.kind != "U" or kind.itemsize > 4 * LONGEST_TEXT):
            expected = f"({self.count},) text of at most {LONGEST_TEXT:,} characters"
            raise BadVectors(f"The array `{name.removesuffix('.npy')}` must be {expected}; it is {shape} of {kind}.")
        return kind

    def _rows(self, opened: dict[str, Any], kinds: dict[str, Any], size: int) -> GivenRows:
        texts = {
            name: np.frombuffer(_exactly(opened[name], size * kinds[name].itemsize), kinds[name]).tolist()
            for name in (IDS, LABELS)
            if name in opened
        }
        data = _exactly(opened[VECTORS], size * self.dim * kinds[VECTORS].itemsize)
        vectors: Vectors = np.frombuffer(data, kinds[VECTORS]).reshape(size, self.dim).astype(np.float32)
        labels = [label or None for label in texts[LABELS]] if LABELS in texts else None
        metadata = [_metadata(opened[LINES]) for _ in range(size)] if LINES in opened else None
        return GivenRows(image_ids=texts[IDS], sha256=None, labels=labels, metadata=metadata, vectors=vectors)


def _header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], Any]:
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise BadVectors(f"The array `{name.removesuffix('.npy')}` is of another version of the format npy.")
    shape, by_columns, kind = read(member)
    if by_columns and len(shape) > 1:
        raise BadVectors(f"The array `{name.removesuffix('.npy')}` lies column by column: save it in C order.")
    return shape, kind


def _exactly(member: IO[bytes], size: int) -> bytes:
    data = member.read(size)
    if len(data) != size:
        raise BadVectors("The file ends too soon.")
    return data


def _metadata(lines: IO[bytes]) -> str | None:
    """The metadata of the next line, as JSON."""
    line = lines.readline(LONGEST_LINE)
    try:
        return json.dumps(json.loads(line)["metadata"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadVectors("A line of `images.jsonl` is no JSON object with `metadata`, or there are too few.") from error
