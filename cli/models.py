"""`umbel models`: list, describe, register, activate, roll back and retire model versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from cli.config import settings
from cli.follow import show_failures
from cli.model_names import find_model, short_ids
from cli.output import api_client, confirm, json_option, local_time, print_json, say, table, yes_option
from cli.quantize import quantize
from cli.registration import checkpoint_folder_option, named_checkpoint, register_checkpoint, show_version
from cli.reindex import report_of, show_report
from cli.whiten import whiten
from umbel.base.errors import Conflict

if TYPE_CHECKING:
    from umbel_client import Job, Model, ModelDetail, Umbel

FIGURES = ("r_at_1", "map_at_r")
CHECKPOINT = click.Path(dir_okay=False, path_type=Path)  # its absence is reported in one line


@click.group()
def models() -> None:
    """The models that searches use, used, or may use.

    \b
    umbel models register models/mine.safetensors     register a checkpoint of `umbel train`
    umbel models add timm:convnext_tiny               register a backbone as it was pretrained
    umbel models whiten garden                        register the active one, centered on a collection
    umbel models quantize umbel-b0 --pictures photos  register it in int8, which is faster on CPUs
    umbel models add-external clip --dim 512          register a model that runs elsewhere
    umbel models bring clip clip.parquet              bring vectors that it computed
    umbel models export --format onnx                 write the model in use for other programs
    umbel reindex mine --activate                     embed every picture with it, and switch if it is as good
    umbel models rollback                             go back to the one before
    umbel models retire mine                          delete its vectors

    MODEL is an id, the beginning of one, or a name. How it all goes together: docs/how-to/models.md.
    """


models.add_command(whiten)
models.add_command(quantize)


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the model versions: the active one first, then the newest.

    \b
    umbel models list
    """
    with api_client() as api:
        found = sorted(api.models.list(), key=lambda one: one.state != "active")
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    rows = (
        (
            "●" if one.state == "active" else "",
            one.name,
            short,
            one.domain,
            one.state,
            one.dim,
            local_time(one.created_at),
            *_mean_figures(one.metrics),
        )
        for one, short in zip(found, short_ids(found), strict=True)
    )
    columns = ("", "model", "id", "for", "state", "dim", "registered", "R@1", "MAP@R")
    table(None, columns, rows, right="dim R@1 MAP@R")


@models.command()
@click.argument("model")
@json_option
def show(model: str, as_json: bool) -> None:
    """Show MODEL: its origin, its metrics, the state of its index, and the report of its last reindex.

    \b
    umbel models show petals
    """
    with api_client() as api:
        version = api.models.get(find_model(list(api.models.list()), model).id)
        latest = latest_reindex(api, version.id)
    if as_json:
        print_json(version.as_dict() | {"reindex": latest and latest.as_dict()})
        return
    for name, value in _facts(version):
        say(f"{name:14}{value}")
    rows = [(name, *_figures(one), one.get("pictures")) for name, one in _sets(version.metrics)]
    if rows:
        say()
        table(None, ("judged in training on", "R@1", "MAP@R", "pictures"), rows, right="R@1 MAP@R pictures")
    if latest is not None and latest.finished:
        say()
        show_report(report_of(latest))
    elif latest is not None:
        say()
        say(f"A reindex is at work: umbel jobs show {latest.id}")


@models.command()
@click.argument("checkpoint", type=CHECKPOINT)
@json_option
def register(checkpoint: Path, as_json: bool) -> None:
    """Register CHECKPOINT: a .safetensors file of `umbel train`, its card beside it, and its split if it is there.

    Weights, card, width and preprocessing must fit one another. Nothing changes for searches; `umbel reindex` is next.

    \b
    umbel models register models/petals.safetensors
    """
    from ml.card import read_card
    from ml.checkpoint import load_checkpoint
    from ml.quantization import check_quantized

    check = load_checkpoint if read_card(checkpoint).quantization is None else check_quantized
    check(checkpoint)
    split = checkpoint.with_suffix(".split.json")
    if not split.is_file() and not as_json:
        say(f"Without {split.name} it is evaluated on pictures that it may have been trained on.", err=True)
    register_checkpoint(checkpoint, as_json=as_json)


@models.command("add-external")
@click.argument("name")
@click.option("--dim", type=click.IntRange(1, 4000), required=True, help="Length of its vectors.")
@json_option
def add_external(name: str, dim: int, as_json: bool) -> None:
    """Register NAME, a model that runs elsewhere and whose vectors are brought with `umbel models bring`.

    It never becomes active: searches, comparisons and maps use it where they name it. docs/how-to/vectors.md

    \b
    umbel models add-external clip --dim 512
    """
    with api_client() as api:
        version = api.models.register_external(name, dim)
    show_version(version, "Registered", as_json=as_json)


@models.command()
@click.argument("model")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--collection", help="Whose images.  [default: that of the key, if it is for one; else `default`]")
@click.option("--only-vectors", is_flag=True, help="Leave labels and metadata as they are, whatever FILE has.")
@json_option
def bring(model: str, file: Path, collection: str | None, only_vectors: bool, as_json: bool) -> None:
    """Bring vectors of the external MODEL for images of a collection, from FILE: Parquet or npz.

    \b
    umbel models add-external clip --dim 512
    umbel models bring clip clip.parquet --collection garden

    FILE names images by id. A vector that is there already is replaced. Exit 1 if any row failed.
    """
    with api_client() as api:
        version = find_model(list(api.models.list()), model)
        job = api.models.bring_vectors(version.id, file, collection=collection, only_vectors=only_vectors)
        if as_json:
            print_json(job.as_dict())
        else:
            say(f"{job.counts.indexed:,} vectors stored, {job.counts.failed:,} rows failed.")
            show_failures(api, job)
    if job.counts.failed:
        raise click.exceptions.Exit(1)


@models.command()
@click.argument("source", metavar="NAME|timm:NAME|FILE")
@click.option("--backbone", metavar="NAME", help="What FILE holds, by timm's name; else the file's own name says it.")
@click.option("--size", type=click.IntRange(32, 1024), help="Side of the model's pictures.  [default: as pretrained]")
@checkpoint_folder_option
@json_option
def add(source: str, backbone: str | None, size: int | None, out: Path, as_json: bool) -> None:
    """Register a model that comes with Umbel, or a backbone of timm's as it was pretrained, without training.

    \b
    umbel models add umbel-b0-flowers
    umbel models add timm:vit_small_patch14_reg4_dinov2.lvd142m --size 224
    umbel models add ./convnext_tiny.safetensors --backbone convnext_tiny

    NAME is umbel-b0 (any pictures) or umbel-b0-flowers. timm:NAME fetches the weights from the model hub, or takes them
    from its cache; FILE is timm's safetensors file: of both a checkpoint is made in --out.
    Nothing changes for searches; `umbel reindex` is next, and judges it.
    """
    from ml.card import card_path
    from ml.shipped import shipped_checkpoint
    from ml.untuned import save_untuned

    if shipped := shipped_checkpoint(source):
        register_checkpoint(shipped, as_json=as_json)
        return
    scheme, is_timm, named = source.partition("timm:")
    weights = None if is_timm and not scheme else Path(source)
    if weights is not None and card_path(weights).is_file():
        raise click.UsageError(f"{weights} has a card: umbel models register {weights}")
    if weights is not None and not weights.is_file():
        raise click.UsageError(f"There is no file {weights}; for weights from the model hub, write timm:NAME.")
    architecture = backbone or (named if weights is None else weights.name.removesuffix(weights.suffix))
    checkpoint = out / f"{architecture}-untuned.safetensors"
    save_untuned(checkpoint, architecture, weights=weights, size=size)
    register_checkpoint(checkpoint, as_json=as_json)


@models.command()
@click.argument("model", metavar="MODEL|FILE", required=False)
@click.option("--format", "kind", type=click.Choice(["onnx", "openvino"]), required=True)
@click.option("--out", type=CHECKPOINT, help="The file.  [default: the model's name, .onnx or .xml, here]")
@json_option
def export(model: str | None, kind: Any, out: Path | None, as_json: bool) -> None:
    """Write a registered MODEL or a checkpoint FILE as one file for programs without Umbel.

    Without either, the model that workers start with. The file takes uint8 pictures (n, size, size, 3), RGB, cut and
    resized, and gives unit vectors (n, dim); how to cut and resize stands in its metadata, under "umbel". MODEL is read
    from the blob store. --format onnx needs the package onnx.

    \b
    umbel models export --format onnx
    umbel models export petals --format openvino --out petals.xml
    """
    from ml.card import read_card
    from ml.runtimes.export import SUFFIXES, export
    from ml.shipped import find_checkpoint

    checkpoint = named_checkpoint(model) if model else find_checkpoint(settings())
    name = read_card(checkpoint).name
    out = out or Path(name + SUFFIXES[kind])
    facts = export(checkpoint, out, kind)
    if as_json:
        print_json({"path": str(out), "format": kind, **facts})
    else:
        say(f"Written: {out}. Pictures {facts['input']['shape']} in, vectors {facts['output']['shape']} out.")


@models.command()
@click.argument("model")
@json_option
def activate(model: str, as_json: bool) -> None:
    """Let searches use MODEL from now on. It must have a vector of every picture: `umbel reindex` makes them.

    \b
    umbel models activate petals
    """
    _change("activate", model, "Active", as_json=as_json)


@models.command()
@click.argument("model", required=False)
@json_option
def rollback(model: str | None, as_json: bool) -> None:
    """Return from MODEL, the active one, to the one that it replaced.

    \b
    umbel models rollback
    """
    _change("rollback", model, "Active again", as_json=as_json)


@models.command()
@click.argument("model")
@yes_option
@json_option
def retire(model: str, yes: bool, as_json: bool) -> None:
    """Delete the vectors of MODEL. Its files stay: register it again and reindex to bring it back.

    \b
    umbel models retire petals
    """
    confirm(f"Delete all vectors of the model {model}?", yes=yes, as_json=as_json)
    _change("retire", model, "Retired", as_json=as_json)


def _change(verb: str, model: str | None, done: str, *, as_json: bool) -> None:
    with api_client() as api:
        known = list(api.models.list())
        version = getattr(api.models, verb)((find_model(known, model) if model else _active(known)).id)
    show_version(version, done, as_json=as_json)


def _active(known: list[Model]) -> Model:
    for one in known:
        if one.state == "active":
            return one
    raise Conflict("No model is active yet: a worker registers one when it first starts.")


def latest_reindex(api: Umbel, model: UUID) -> Job | None:
    """The newest reindex with this version."""
    return next((job for job in api.jobs.list(type="reindex") if job.model_version == model), None)


def _facts(version: ModelDetail) -> Iterator[tuple[str, object]]:
    provenance = version.card.get("provenance")
    yield "Model", f"{version.name}, {version.state}"
    yield "Id", version.id
    yield "Weights", f"{version.architecture}, {version.dim} dimensions, SHA-256 {version.weights_sha256}"
    if version.domain:
        yield "For", version.domain
    if version.arithmetic == "int8":
        yield "Arithmetic", "int8, on OpenVINO alone"
    yield "Preprocessing", version.preprocessing_hash
    if isinstance(provenance, dict):
        yield "Trained on", "; ".join(map(str, provenance.get("data", [])))
        yield "Started from", provenance.get("start")
        yield "Trained at", provenance.get("created_at")
        if provenance.get("note"):
            yield "Note", provenance["note"]
    yield "Registered", local_time(version.created_at)
    if version.activated_at:
        after = f", after {version.replaced}" if version.replaced else ""
        yield "Activated", f"{local_time(version.activated_at)}{after}"
    if index := version.index:
        built = f"{index.kind}, m {index.m}, ef_construction {index.ef_construction}, {index.bytes:,} bytes"
        yield "Index", f"{built}, {index.rows:,} vectors" if index.valid else "none: searches scan exactly"
        if index.collections:
            yield "Of collections", f"{index.collections} indexes of their own, {index.collection_bytes:,} bytes"
        if index.advice:
            yield "Advice", index.advice


def _sets(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The validation sets of a card of `umbel train`; other cards may hold anything."""
    sets = metrics.get("validation")
    return [(name, one) for name, one in sets.items() if isinstance(one, dict)] if isinstance(sets, dict) else []


def _figures(one: dict[str, Any]) -> tuple[str, str]:
    r_at_1, map_at_r = (one.get(key) for key in FIGURES)
    return _rounded(r_at_1), _rounded(map_at_r)


def _mean_figures(metrics: dict[str, Any]) -> tuple[str, str]:
    """The means over the validation sets, each set with the same weight."""
    sets = [one for _, one in _sets(metrics) if all(isinstance(one.get(key), float) for key in FIGURES)]
    return _figures({key: fmean(one[key] for one in sets) for key in FIGURES} if sets else {})


def _rounded(figure: Any) -> str:
    return f"{figure:.3f}" if isinstance(figure, float) else ""
