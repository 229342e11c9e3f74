"""`umbel export`: vectors into a file."""

from pathlib import Path
from typing import Any

import click

from cli.filters import filter_option
from cli.model_names import find_model
from cli.output import api_client, json_option, print_json, say


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--collection", help="Only this collection.  [default: all]")
@filter_option
@click.option("--model", help="Whose vectors: an id, the beginning of one, or a name.  [default: the active one's]")
@json_option
def export(file: Path, collection: str | None, asked: dict[str, Any] | None, model: str | None, as_json: bool) -> None:
    """Write vectors into FILE, with the ids, names, labels and metadata of their images.

    \b
    umbel export garden.parquet --collection garden
    umbel export tulips.npz --filter '{"label": ["tulip"]}'

    FILE ends in .parquet (read by pandas, Polars, DuckDB, pyarrow) or in .npz (read by NumPy). What is in it, and how
    vectors come in: docs/how-to/vectors.md.
    """
    from umbel_client.umbel import FORMATS

    if file.suffix.removeprefix(".") not in FORMATS:
        raise click.UsageError(f"{file} must end in .parquet or .npz.")
    with api_client() as api:
        version = find_model(list(api.models.list()), model).id if model else None
        api.export(file, collection=collection, filter=asked, model_version=version)
    size = file.stat().st_size
    if as_json:
        print_json({"path": str(file), "bytes": size})
    else:
        say(f"Written: {file}, {size:,} bytes.")
