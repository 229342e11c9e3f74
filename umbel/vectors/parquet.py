"""Vectors as Parquet, by pyarrow, which the extra `parquet` installs."""

import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from umbel.base.errors import BadVectors, NotInstalled
from umbel.base.types import Vectors
from umbel.vectors import rows
from umbel.vectors.rows import ExportedRows, FileFacts, GivenRows
from umbel.vectors.streams import Outgoing

TEXTS = ("image_id", "collection", "name", "external_id", "label", "metadata", "sha256")
KNOWN_TEXT = ["collection", "label"]  # few values, often repeated
FACTS = "umbel"  # the key of the file's own metadata


def check_pyarrow() -> Any:
    """The module pyarrow. Raises NotInstalled."""
    try:
        import pyarrow.compute  # noqa: PLC0415 - only some installations have it
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise NotInstalled(
            "Parquet needs the package pyarrow, which is not installed with this service: `pip install"
            " 'umbel[parquet]'`, or use format=npz."
        ) from error
    return pyarrow


def write_parquet(facts: FileFacts, batches: Iterator[ExportedRows]) -> Iterator[bytes]:
    """A Parquet file, one row group a batch, as it is written. Raises NotInstalled.

    Columns: image_id, collection, name, external_id, label, metadata (JSON), sha256 as text; vector as a list of `dim`
    float32.
    """
    pyarrow, outgoing = check_pyarrow(), Outgoing()
    fields = [*((name, pyarrow.string()) for name in TEXTS), ("vector", pyarrow.list_(pyarrow.float32(), facts.dim))]
    schema = pyarrow.schema(fields, metadata={FACTS: json.dumps(facts.as_dict())})
    # Halves widened to float32 have 13 bits of nothing at their ends, which this encoding brings together.
    encodings = {"use_dictionary": KNOWN_TEXT, "use_byte_stream_split": ["vector.list.element"]}
    with pyarrow.parquet.ParquetWriter(outgoing, schema, compression="zstd", **encodings) as writer:
        for some in batches:
            flat = pyarrow.array(some.vectors.reshape(-1))
            columns = [some.image_ids, some.collections, some.names, some.external_ids, some.labels]
            columns += [some.metadata, some.sha256]
            arrays = [*(pyarrow.array(column, pyarrow.string()) for column in columns)]
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(flat, facts.dim))
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
            yield outgoing.take()
    yield outgoing.take()


class ParquetVectors:
    """A Parquet file of vectors: the column `vector`, a list of numbers, and `image_id` or `sha256`.

    `label` and `metadata` (JSON text) may be there; other columns are not read. Raises BadVectors, NotInstalled.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._arrow = check_pyarrow()
        try:
            self._file = self._arrow.parquet.ParquetFile(file)
        except (self._arrow.ArrowException, OSError) as error:
            raise BadVectors(f"The file cannot be read as Parquet: {_first_line(error)}.") from error
        schema = self._file.schema_arrow
        if "vector" not in schema.names or not {"image_id", "sha256"} & set(schema.names):
            raise BadVectors(f"The file needs columns `vector`, and `image_id` or `sha256`; it has {schema.names}.")
        kind = schema.field("vector").type
        lists = self._arrow.types.is_list, self._arrow.types.is_large_list, self._arrow.types.is_fixed_size_list
        if not any(one(kind) for one in lists) or not self._arrow.types.is_floating(kind.value_type):
            raise BadVectors(f"The column `vector` must have lists of floating-point numbers; it has {kind}.")
        self.count = self._file.metadata.num_rows
        known = ("vector", "label", "metadata", "image_id" if "image_id" in schema.names else "sha256")
        self._columns = [name for name in known if name in schema.names]
        self._first = next(self._batches(1), None)  # of lists of any length, the first says how long they are
        self.dim = self._first.vectors.shape[1] if self._first else 0

    def batches(self) -> Iterator[GivenRows]:
        """All rows. Raises BadVectors."""
        return self._batches(rows.BATCH)

    def _batches(self, size: int) -> Iterator[GivenRows]:
        try:
            for batch in self._file.iter_batches(size, columns=self._columns):
                yield GivenRows(
                    image_ids=self._texts(batch, "image_id"),
                    sha256=self._texts(batch, "sha256"),
                    labels=self._texts(batch, "label"),
                    metadata=self._texts(batch, "metadata"),
                    vectors=self._vectors(batch.column("vector")),
                )
        except (self._arrow.ArrowException, OSError) as error:
            raise BadVectors(f"The file cannot be read as Parquet: {_first_line(error)}.") from error

    def _texts(self, batch: Any, name: str) -> list[str | None] | None:
        if name not in batch.schema.names:
            return None
        found: list[Any] = batch.column(name).to_pylist()
        if any(one is not None and not isinstance(one, str) for one in found):
            raise BadVectors(f"The column `{name}` must have text.")
        return found

    def _vectors(self, column: Any) -> Vectors:
        flat = column.flatten().to_numpy(zero_copy_only=False)
        if column.null_count or len(column) == 0 or len(flat) % len(column):
            raise BadVectors("The vectors are not all of one length.")
        dim = len(flat) // len(column)
        lengths = self._arrow.compute.list_value_length(column).to_numpy(zero_copy_only=False)
        if dim == 0 or (lengths != dim).any():
            raise BadVectors("The vectors are not all of one length.")
        return flat.reshape(-1, dim).astype(np.float32)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
