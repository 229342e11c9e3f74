"""Vectors as Parquet, by pyarrow, which the extra `parquet` installs."""

import json
from collections.abc import Iterator
from typing import Any

from umbel.base.errors import NotInstalled
from umbel.vectors.rows import ExportedRows, FileFacts
from umbel.vectors.streams import Outgoing

KNOWN_TEXT = ["collection", "label"]  # few values, often repeated
FACTS = "umbel"  # the key of the file's own metadata


def check_pyarrow() -> Any:
    """The module pyarrow. Raises NotInstalled."""
    try:
        import pyarrow.parquet  # noqa: PLC0415 - only some installations have it
    except ImportError as error:
        raise NotInstalled(
            "Parquet needs the package pyarrow, which is not installed with this service: `pip install"
            " 'umbel[parquet]'`, or use format=npz."
        ) from error
    return pyarrow


def write_parquet(facts: FileFacts, batches: Iterator[ExportedRows]) -> Iterator[bytes]:
    """A Parquet file, one row group a batch, as it is written. Raises NotInstalled.

    Columns: image_id, collection, name, label, metadata (JSON), sha256 as text, vector as a list of `dim` float32.
    """
    pyarrow, outgoing = check_pyarrow(), Outgoing()
    text = {name: pyarrow.string() for name in ("image_id", "collection", "name", "label", "metadata", "sha256")}
    fields = [*text.items(), ("vector", pyarrow.list_(pyarrow.float32(), facts.dim))]
    schema = pyarrow.schema(fields, metadata={FACTS: json.dumps(facts.as_dict())})
    # Halves widened to float32 have 13 bits of nothing at their ends, which this encoding brings together.
    encodings = {"use_dictionary": KNOWN_TEXT, "use_byte_stream_split": ["vector.list.element"]}
    with pyarrow.parquet.ParquetWriter(outgoing, schema, compression="zstd", **encodings) as writer:
        for rows in batches:
            flat = pyarrow.array(rows.vectors.reshape(-1))
            columns = [rows.image_ids, rows.collections, rows.names, rows.labels, rows.metadata, rows.sha256]
            arrays = [*(pyarrow.array(column, pyarrow.string()) for column in columns)]
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(flat, facts.dim))
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
            yield outgoing.take()
    yield outgoing.take()
