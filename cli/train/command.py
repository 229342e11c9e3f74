"""`umbel train`: a model for the pictures that someone has."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import api_client, api_url, json_option, print_json, progress, say, table
from cli.reindex import show_outcome

if TYPE_CHECKING:
    from cli.train.loop import Outcome, Plan
    from cli.train.run import TrainingRun
    from ml.training.recipe import Recipe

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHARE = click.FloatRange(0, 0.9)


class Knob(click.Option):
    """Its help ends with the default, which is read from the recipe when it is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from ml.training.recipe import RECIPES

        names, text = super().get_help_record(ctx) or ("", "")
        return names, f"{text.removesuffix(']')}; b0: {getattr(RECIPES['b0'], self.name or '')}]"


def knob(flag: str, kind: Any, text: str) -> Any:
    """An option that changes one field of the recipe; without it, the recipe's own value stays."""
    return click.option(flag, type=kind, help=f"{text}  [default: the recipe's]", cls=Knob)


def _list_settings(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from ml.training.recipe import described

        table(None, ("setting", "b0", "what it does"), described())
        say("Values are JSON: --set color=0.1 --set 'stages=[[128,4],[160,2]]'")
        context.exit()


def _domain(context: click.Context, _: click.Parameter, text: str | None) -> str | None:
    from ml.card import LONGEST_DOMAIN

    if text is not None and not 0 < len(text.strip()) <= LONGEST_DOMAIN:
        raise click.BadParameter(f"it takes 1 to {LONGEST_DOMAIN} characters, not {len(text.strip())}.")
    return text and text.strip()


@click.command()
@click.argument("folders", metavar="[FOLDER…]", nargs=-1, type=FOLDER)
@click.option("--from-collection", metavar="NAME", help="Train on its labelled pictures instead of FOLDERs.")
@click.option("--out", required=True, type=NEW_FOLDER, help="Where the checkpoint, its card and its curves go.")
@click.option(
    "--start", type=FILE, help="Weights to start from: a timm backbone or an Umbel checkpoint; else the hub's."
)
@click.option("--name", default="umbel", show_default=True, help="Name of the model and of its files.")
@click.option(
    "--backbone",
    metavar="NAME",
    default="b0",
    show_default=True,
    help="An EfficientNetV2 (b0, b1, b2, b3, s, m, l), or any other of timm's, by its name there.",
)
@knob("--members", click.IntRange(1), "Networks to train from the same start; their weights are averaged.")
@knob("--epochs", click.IntRange(1), "Of each member, over all picture sizes, which grow on the way.")
@knob("--size", click.IntRange(32, 1024), "Side of the model's pictures.")
@knob("--dim", click.IntRange(2, 4000), "Length of an embedding.")
@knob("--batch-size", click.IntRange(2), "Pictures a step.")
@knob("--margin", click.FloatRange(0, 1), "ArcFace's, in radians.")
@knob("--centers", click.IntRange(1, 10), "Sub-centres a class: more than one for classes of several looks.")
@knob("--balance", click.FloatRange(0, 1), "1: classes are drawn by their size; 0: all equally often.")
@knob("--seed", click.IntRange(0), "Same seed, same weights.")
@knob("--validation", SHARE, "Share of each class that is only judged on.")
@knob("--held-out-classes", click.IntRange(0), "Classes of the richest folder that are only judged on.")
@knob("--patience", click.IntRange(1), "Epochs without a better one until the run ends early.")
@click.option(
    "--hold-out",
    multiple=True,
    type=FOLDER,
    metavar="FOLDER",
    help="Class folders that are only judged on, and that nothing is chosen by; may be repeated.",
)
@click.option(
    "--domain",
    metavar="TEXT",
    callback=_domain,
    help="What the model is for, on its card: general, or a kind of pictures such as flowers; of a kind, identify "
    "says unknown by the model's calibration only of classes that this knows.  [default: not said]",
)
@click.option(
    "--refit",
    is_flag=True,
    help="When validation has chosen, train once more on all pictures but --hold-out's, and save that.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Also write it in int8, which CPUs compute faster, as NAME-int8, a model of its own. Needs the package nncf.",
)
@click.option("--flip-average", is_flag=True, help="Embed picture and mirror image: a little better, twice the time.")
@click.option("--tensorboard", type=NEW_FOLDER, help="Write TensorBoard events there.")
@click.option("--fresh", is_flag=True, help="Begin anew, though an unfinished run is there to go on with.")
@click.option("--include-hidden", is_flag=True, help="Also what is hidden, trash, thumbnails that programs keep, …")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any setting of the recipe; may be repeated.",
)
@click.option(
    "--list-settings",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_settings,
    help="List what --set takes, and exit.",
)
@click.option("--labels", multiple=True, type=FILE, metavar="FILE.csv", help="Pictures by path,label[,role].")
@click.option("--processes", type=click.IntRange(1), help="Share each batch among so many.  [default: one a GPU]")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that decode pictures in every epoch; 0: keep them decoded.  [default: 0 where they have room]",
)
@click.option("--register", is_flag=True, help="Then make it known to the service that runs.")
@click.option("--reindex", is_flag=True, help="Then embed every picture with it, and judge it. Registers it.")
@click.option(
    "--activate-if-better", is_flag=True, help="Then switch to it, unless it is worse; exit 1 if so. Reindexes."
)
@json_option
def train(  # noqa: PLR0917 - click passes by name
    folders: tuple[Path, ...],
    from_collection: str | None,
    out: Path,
    start: Path | None,
    backbone: str,
    hold_out: tuple[Path, ...],
    domain: str | None,
    refit: bool,
    int8: bool,
    tensorboard: Path | None,
    fresh: bool,
    include_hidden: bool,
    assignments: tuple[str, ...],
    labels: tuple[Path, ...],
    processes: int | None,
    workers: int | None,
    register: bool,
    reindex: bool,
    activate_if_better: bool,
    as_json: bool,
    **knobs: Any,
) -> None:
    """Fine-tune a backbone, by default an EfficientNetV2, with ArcFace on class folders (FOLDER/class/picture).

    Writes OUT/NAME.safetensors and its card OUT/NAME.json, who was learnt from (NAME.split.json), the curves
    (NAME.curves.png, drawn anew after each epoch) and the duplicates found (NAME.duplicates.json and .png).

    Every epoch is judged on pictures, and classes, that were not trained on; the best one is kept. Duplicates stay on
    one side. A run that was interrupted, even killed, goes on when the same command is given again, to the same end.

    \b
    umbel train photos --out models                                  a model to evaluate
    umbel train --from-collection garden --out models \\
        --activate-if-better                  the whole loop, on the service that runs

    The loop: the collection's labelled pictures are fetched into OUT/NAME.pictures, a model is trained on them and
    registered, every picture of every collection is embedded with it, both models are judged on labelled pictures
    that it has not learnt from, and searches switch to it unless it is worse. See docs/how-to/models.md.
    """
    from cli.train.loop import Plan
    from cli.train.run import TrainingRun, show_training
    from ml.training.files import RunFiles
    from ml.training.recipe import changed

    folders += labels
    if bool(folders) == bool(from_collection):
        raise click.UsageError("Name FOLDERs to train on, --labels, or a collection with --from-collection.")
    if refit and activate_if_better and not hold_out:
        raise click.UsageError(
            "--activate-if-better judges on pictures that were not learnt from, and --refit leaves none; name some "
            "with --hold-out, or leave out one of the two."
        )
    if int8:
        from ml.quantization import require_nncf

        require_nncf()  # better missed now than after the training
    reindex = reindex or activate_if_better
    plan = Plan(folders, from_collection, register=register or reindex, reindex=reindex, activate=activate_if_better)
    chosen = changed(_recipe(backbone, **knobs), assignments)
    files = RunFiles(out, chosen.name)
    options: dict[str, Any] = {"processes": processes, "workers": workers, "hold_out": hold_out}
    options |= {"domain": domain, "refit": refit, "int8": int8}
    run = TrainingRun(files, start, chosen, tensorboard, fresh, include_hidden, **options)
    outcome = _outcome(plan, run, quiet=as_json)
    if as_json:
        print_json(outcome.as_dict())
    else:
        show_training(outcome.training)
        _show_rest(outcome)
    if not outcome.reached(plan):
        sys.exit(1)


def _outcome(plan: Plan, run: TrainingRun, *, quiet: bool) -> Outcome:
    from cli.train.loop import Loop, Note, Outcome

    if not (plan.collection or plan.register):
        with progress(quiet=quiet) as bars:
            return Outcome(run.learn(plan.folders, bars))
    with api_client() as api:
        list(api.models.list())  # is it there? better asked now than after the training
        loop = [str(folder.absolute()) for folder in plan.folders], plan.collection, api_url(), run.arguments
        note = Note(run.files.out / f"{run.files.name}.loop.json", loop, fresh=run.fresh)
        with progress(quiet=quiet) as bars:
            return Loop(api, plan, run, note, bars).run()


def _show_rest(outcome: Outcome) -> None:
    if outcome.model is None:
        return
    say(f"Registered as {outcome.model.name} ({outcome.model.id}), {outcome.model.state}.")
    say()
    if outcome.job is not None:
        show_outcome(outcome.job)
    elif outcome.model.state == "active":
        say("It is the very model that is active already.")
    else:
        say(f"To embed every picture with it: umbel reindex {outcome.model.id}")


def _recipe(backbone: str, *, epochs: int | None, size: int | None, **knobs: Any) -> Recipe:
    from ml.training.recipe import recipe_for, resized

    base = recipe_for(backbone)
    if epochs or size:
        base = resized(base, size or base.size, epochs or base.epochs)
    return dataclasses.replace(base, **{name: value for name, value in knobs.items() if value is not None})
