"""`umbel demo`: start everything, import images and search, in one command."""

from __future__ import annotations

import hashlib
import io
import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.config import settings
from cli.imports import import_images
from cli.output import api_client, json_option, print_json, progress, say
from cli.sample import draw
from cli.search import opened, show_matches, write_sheet
from cli.stack import say_model, up_detached
from umbel.base.errors import InvalidInput

if TYPE_CHECKING:
    from PIL import Image
    from umbel_client import SearchResult, Umbel

    from garden import Plan

MATCHES = 10
SIZE = 640  # pixels: sharp where the page shows a picture large, and drawn in some seconds
QUERY_SPECIES = 4


@dataclass(frozen=True, slots=True)
class Query:
    """The image to search with, and its label if known."""

    image: Image.Image
    data: bytes
    label: str | None


@click.command()
@click.argument("photos", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def demo(photos: Path | None, as_json: bool) -> None:
    """Start everything, import PHOTOS (or a garden of drawn flowers), search with one picture.

    Prints the matches and writes them as a picture, demo.png in UMBEL_HOME. Run again, it is fast and adds nothing
    twice.

    \b
    umbel demo
    umbel demo ~/Pictures
    """
    from garden import Plan

    where = up_detached(settings(), quiet=as_json).url
    home = settings().home
    if photos is None:
        plan = Plan(size=SIZE)
        collection, folder, query = "garden", home / "garden", _unseen_specimen(plan)
        draw(folder, plan, quiet=as_json)
    else:
        collection, folder, query = "photos", photos, _first_of(photos)
    with api_client(where) as api:  # not at --url: it imports
        _import(api, folder, collection, quiet=as_json)
        _calibrate(api, collection, quiet=as_json)
        found = _search(api, query, collection)
        sheet = home / "demo.png"
        write_sheet(api, query.image, found, sheet, label=query.label)
    if as_json:
        print_json({"url": where, "collection": collection, "contact_sheet": str(sheet), **found.as_dict()})
        return
    show_matches(found)
    say(f"The matches as a picture: {sheet}")
    say(f"The page: {where}")
    if shutil.which("umbel") is None:  # `make demo` calls it by its path
        activate = Path(sys.prefix, "bin", "activate")
        say(f"The command line: . {shlex.quote(str(activate))}, then umbel --help; make stop ends all.")


def _import(api: Umbel, folder: Path, collection: str, *, quiet: bool) -> None:
    from umbel_client.folder import list_images

    sources = list_images([folder], label_from_folder=True).images
    if len({source.path.parent for source in sources}) == 1:  # a single folder gives all images the same label
        sources = [replace(source, label=None) for source in sources]
    with progress(quiet=quiet) as bars:
        outcome = import_images(api, sources, collection=collection, wait=True, bars=bars)
    for name, reason in outcome.rejected.items():
        say(f"Not taken: {name}: {reason}", err=True)


def _calibrate(api: Umbel, collection: str, *, quiet: bool) -> None:
    """So that `umbel identify` can be trusted there, if it has labels enough."""
    from umbel_client import Conflict

    if api.collections.get(collection).calibration is None:
        with suppress(Conflict):
            api.collections.calibrate(collection)
    if (model := api.ready().model) and not quiet:
        say_model(model)


def _search(api: Umbel, query: Query, collection: str) -> SearchResult:
    """The images most similar to the query, without the query itself."""
    digest = hashlib.sha256(query.data).hexdigest()
    image_id = api.images.check([digest], collection=collection).get(digest)
    if image_id is not None:
        found = api.images.similar(image_id, k=MATCHES, collection=collection)
    else:
        found = api.search(query.data, k=MATCHES, collection=collection)
    if not found.matches:
        raise InvalidInput("The search found nothing: one picture more is needed at least.")
    return found


def _unseen_specimen(plan: Plan) -> Query:
    """A flower of a species in the garden that is not among the imported images."""
    from garden import draw_specimen

    image = draw_specimen(plan.seed, QUERY_SPECIES, plan.per_species, size=plan.size)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92)
    return Query(image, out.getvalue(), plan.names()[QUERY_SPECIES])


def _first_of(photos: Path) -> Query:
    from umbel_client.folder import list_images

    sources = list_images([photos]).images
    if not sources:
        raise InvalidInput(f"There is no picture in {photos}.")
    data = sources[0].path.read_bytes()
    return Query(opened(data), data, None)
