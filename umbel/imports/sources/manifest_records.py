"""Lists as they are stored: uploaded in any dialect, stored in one, so that listing can go on from any offset.

The first line has the columns of a CSV, or null. Each other line is a row: the number of the line that it began on in
the upload, a space, and JSON: an object, whatever is wrong with it; of a CSV the row's values, or as a string what is
wrong with it.
"""

from collections.abc import Iterator

from umbel.base.blobs import CHUNK
from umbel.base.errors import BadManifest, SourceTooLarge
from umbel.imports.sources.manifest_csv import csv_records
from umbel.imports.sources.manifest_json import json_array_records, json_line_records
from umbel.imports.sources.manifest_text import decoded

KINDS = {"[": json_array_records, "{": json_line_records}


def stored_records(chunks: Iterator[bytes], start: bytes, most: int) -> Iterator[bytes]:
    """What is stored of an uploaded list, about CHUNK bytes at a time.

    chunks: all of it; start: its first bytes; most: rows. Raises what is wrong with the list as a whole: BadManifest,
    UnsupportedManifest, SourceTooLarge; and what `chunks` raises.
    """
    text, head = decoded(chunks, start)
    records = KINDS.get(head[0], csv_records)(text)
    some, size, rows = [next(records)], 0, 0
    for rows, record in enumerate(records, 1):
        if rows > most:
            raise SourceTooLarge(f"The list has more than the {most:,} rows that are taken.")
        some.append(record)
        size += len(record)
        if size >= CHUNK:
            yield "".join(some).encode()
            some, size = [], 0
    if not rows:
        raise BadManifest("The list has no rows.")
    yield "".join(some).encode()
