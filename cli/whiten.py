"""`umbel models whiten`: the active model, centered on the vectors of a gallery."""

from pathlib import Path

import click

from cli.config import settings
from cli.output import json_option
from cli.registration import checkpoint_folder_option, register_checkpoint, registered_checkpoint

MOST = 20_000  # vectors: the mean of so many is known to a hundredth of their spread


@click.command()
@click.argument("collection", required=False)
@click.option(
    "--strength",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="0 takes the mean of the vectors away; more evens out how far they spread, too; 1 wholly.",
)
@click.option("--name", help="Of the new model.  [default: the active one's, and the collection's]")
@checkpoint_folder_option
@json_option
def whiten(collection: str | None, strength: float, name: str | None, out: Path, as_json: bool) -> None:
    """Register the active model again, its vectors centered on those of COLLECTION, or of all collections.

    Pictures of one kind have much in common, which makes all of them similar and tells none apart. What the gallery
    has in common is learnt from up to 20,000 of its vectors and taken away from each. It needs no labels. Worth a try
    where all pictures are of one kind: labels, if there are some, tell in the reindex whether it helped.

    \b
    umbel models whiten garden
    umbel reindex umbel-b0-garden

    Needs the database and the blob store, besides the service. Nothing changes for searches until the reindex is
    activated. Distances are larger with the new model, and `umbel calibrate` is to be run again.
    """
    from ml.whitening import save_whitened
    from umbel.base import schema
    from umbel.base.database import transaction
    from umbel.embedding.embeddings import list_vectors
    from umbel.gallery.collections import get_collection
    from umbel.models.versions import get_active_version

    schema.check(settings().direct_database)
    with transaction() as session:
        version = get_active_version(session)
        place = get_collection(session, collection) if collection else None
        _, vectors = list_vectors(session, version.id, place, dim=version.dim, most=MOST)
    active = registered_checkpoint(version.weights_sha256)
    name = name or f"{version.name}-{collection or 'centered'}"
    path = out / f"{name}.safetensors"
    save_whitened(path, active, vectors, name=name, gallery=collection or "all collections", strength=strength)
    register_checkpoint(path, as_json=as_json)
