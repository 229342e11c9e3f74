"""`umbel models quantize`: a model in int8, which CPUs compute faster."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cli.config import settings
from cli.nearness import nearness
from cli.output import api_client, json_option, print_json, say, skipped_lines
from cli.registration import checkpoint_folder_option, named_checkpoint, register_checkpoint

if TYPE_CHECKING:
    from ml.preprocess import Preprocessing
    from umbel.base.types import Pixels

PAGE = 500  # images listed at once

T = TypeVar("T")
# A picture by what it is called, and how to get its bytes.
Picture = tuple[str, Callable[[], bytes]]


@click.command()
@click.argument("model", metavar="MODEL|FILE")
@click.option(
    "--pictures",
    "folders",
    multiple=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Pictures like those of the gallery, from which it learns what ranges there are; may be repeated.",
)
@click.option("--from-collection", "collection", metavar="NAME", help="Those of a collection instead of FOLDERs.")
@click.option(
    "--count",
    default=400,
    show_default=True,
    type=click.IntRange(50, 5000),
    help="Of them, drawn at random, of each FOLDER as many; a fifth of them only judges.",
)
@click.option(
    "--aim",
    default=0.99,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Cosine to the vectors in float that 99 of 100 are to reach. Layers stay in float for it, which costs speed; "
    "0: none.",
)
@click.option("--name", help="Of the new model.  [default: the model's, with -int8]")
@checkpoint_folder_option
@click.option(
    "--register/--no-register", default=True, help="Make it known to the service that runs, or write it only."
)
@json_option
def quantize(  # noqa: PLR0917 - click passes by name
    model: str,
    folders: tuple[Path, ...],
    collection: str | None,
    count: int,
    aim: float,
    name: str | None,
    out: Path,
    register: bool,
    as_json: bool,
) -> None:
    """Register MODEL, or the checkpoint FILE, again in int8, which CPUs compute faster than floats.

    It learns from pictures, which need no labels, what ranges its activations have, so they should be like those of the
    gallery. Its vectors differ from those in float: it is a model of its own, and every picture is embedded with it.
    Labels, if there are some, tell in the reindex what that costs.

    \b
    umbel models quantize umbel-b0 --pictures photos
    umbel models quantize umbel-b0 --from-collection garden
    umbel reindex umbel-b0-int8

    Workers run it on OpenVINO alone, so on CPUs. Needs the package nncf, and for a registered MODEL the blob store. It
    takes some minutes. Nothing changes for searches until the reindex is activated; then `umbel calibrate` is to be
    run again.
    """
    if bool(folders) == bool(collection):
        raise click.UsageError("Name pictures like those of the gallery, by --pictures or by --from-collection.")
    from ml.card import read_card
    from ml.quantization import save_quantized

    checkpoint = named_checkpoint(model)
    card = read_card(checkpoint)
    drawn = _of_collection(collection) if collection else _of_folders(folders)
    pixels, skipped = decoded(drawn, count, card.preprocessing)
    name = name or f"{card.name}-int8"
    source = f"the collection {collection}" if collection else " and ".join(folder.name for folder in folders)
    path = out / f"{name}.safetensors"

    def tell(remark: str) -> None:
        if not as_json:
            say(remark, err=True)

    for line in skipped_lines(skipped):
        tell(line)
    made = save_quantized(path, checkpoint, pixels, name=name, source=source, aim=aim, tell=tell)
    tell(nearness(made.model_dump()))
    if register:
        register_checkpoint(path, as_json=as_json)
    elif as_json:
        print_json({"checkpoint": str(path), "card": made.model_dump(mode="json")})
    else:
        say(f"Written to {path}")


def decoded(
    pictures: Iterator[Picture], count: int, preprocessing: Preprocessing
) -> tuple[list[Pixels], list[tuple[str, str]]]:
    """The first `count` that can be decoded, as a model sees them; and those before that cannot, with the reason."""
    from umbel_client import ApiError

    from umbel.base.errors import ImageError

    pixels: list[Pixels] = []
    skipped: list[tuple[str, str]] = []
    for name, read in pictures:
        if len(pixels) == count:
            break
        try:
            pixels.append(preprocessing.decode(read(), settings()))
        except (ImageError, OSError, ApiError) as error:
            skipped.append((name, str(error)))
    return pixels, skipped


def _of_folders(folders: Sequence[Path]) -> Iterator[Picture]:
    """All pictures of the folders at any depth, always in the same random order, of each folder one by turns."""
    from umbel_files.walking import Outcome, walk

    files = [[found.path for found in walk(folder) if found.outcome is Outcome.TAKEN] for folder in folders]
    for path in chain.from_iterable(zip_longest(*map(_shuffled, files))):
        if path is not None:
            yield str(path), path.read_bytes


def _of_collection(collection: str) -> Iterator[Picture]:
    """All pictures of a collection in a random order, as the gallery serves them: upright, without metadata."""
    with api_client() as api:
        for image_id in _shuffled([image.image_id for image in api.images.list(collection=collection, page_size=PAGE)]):
            yield str(image_id), partial(api.images.file, image_id)


def _shuffled(things: list[T]) -> list[T]:
    random.Random(1).shuffle(things)
    return things
