"""Lists as they are stored: uploaded in any dialect, stored in one, so that listing can go on from any offset.

The first line has the columns of a CSV, or null. Each other line is a row: the number of the line that it began on in
the upload, a space, and JSON: an object, whatever is wrong with it; of a CSV the row's values, or as a string what is
wrong with it.
"""

from collections.abc import Iterator
from itertools import islice

from umbel.base.errors import BadManifest, SourceTooLarge
from umbel.imports.sources.manifest_csv import csv_records
from umbel.imports.sources.manifest_json import json_array_records, json_line_records
from umbel.imports.sources.manifest_text import decoded

ROWS_AT_ONCE = 10_000
KINDS = {"[": json_array_records, "{": json_line_records}


def stored_records(chunks: Iterator[bytes], start: bytes, most: int) -> Iterator[bytes]:
    """What is stored of an uploaded list, thousands of rows at a time.

    chunks: all of it; start: its first bytes; most: rows. Raises what is wrong with the list as a whole: BadManifest,
    UnsupportedManifest, SourceTooLarge; and what `chunks` raises.
    """
    text, head = decoded(chunks, start)
    records = KINDS.get(head[0], csv_records)(text)
    rows = -1  # the columns come first
    while some := list(islice(records, ROWS_AT_ONCE)):
        rows += len(some)
        if rows > most:
            raise SourceTooLarge(f"The list has more than the {most:,} rows that are taken.")
        yield "".join(some).encode()
    if rows < 1:
        raise BadManifest("The list has no rows.")
