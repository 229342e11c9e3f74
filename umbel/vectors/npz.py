"""Vectors as npz, which numpy.load opens: arrays of the ids, labels and vectors, and a line of JSON for each image."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from umbel.vectors.rows import ExportedRows, FileFacts
from umbel.vectors.streams import Outgoing

IDS, LABELS, VECTORS, LINES, FACTS = "ids.npy", "labels.npy", "vectors.npy", "images.jsonl", "model.json"
AT_ONCE = 2**20  # bytes sent at a time
LINES_AT_ONCE = 10_000


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
        for rows in batches:
            vectors.write(rows.vectors.astype("<f4").tobytes())
            lines.writelines(_lines(rows))
            longest = max([longest, *(len(label) for label in rows.labels if label)])
            count += len(rows.image_ids)
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


def _lines(rows: ExportedRows) -> Iterator[bytes]:
    columns = (rows.image_ids, rows.collections, rows.names, rows.labels, rows.sha256, rows.metadata)
    for image_id, collection, name, label, sha256, metadata in zip(*columns, strict=True):
        row = {"image_id": image_id, "collection": collection, "name": name, "label": label, "sha256": sha256}
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
