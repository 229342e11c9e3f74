"""`umbel reindex`: re-embed every image, or rebuild the active index; report the outcome."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.follow import followed, show_failures, wait_option
from cli.model_names import find_model
from cli.output import api_client, json_option, print_json, say, table

if TYPE_CHECKING:
    from umbel_client import Job

METRICS = {"r_at_1": "R@1", "map_at_r": "MAP@R"}
MODEL_COLUMNS = ("metric", "active", "candidate", "difference", "95 %")
INDEX_COLUMNS = ("index", "before", "after")


@click.command()
@click.argument("model", required=False)
@click.option(
    "--mode",
    type=click.Choice(["embeddings", "index"]),
    default="embeddings",
    show_default=True,
    help="Embed with MODEL; or build the active model's index anew.",
)
@click.option(
    "--activate/--no-activate",
    default=None,
    help="Switch if it passes the gate; exit 1 if it does not.  [default: only without MODEL]",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    help="How far R@1 and MAP@R may be below the active model's, or recall@10 with --kind below that of the present"
    " index.  [default: UMBEL_GATE_DROP of the service; 0.05]",
)
@click.option("--m", type=click.IntRange(2, 100), help="Of the new index: neighbors of each vector.")
@click.option("--ef-construction", type=click.IntRange(4, 1000), help="Of the new index: candidates for them.")
@click.option(
    "--kind",
    type=click.Choice(["halfvec", "bits"]),
    help="Of the new index: of half floats, or of bits, which take a third of the memory.",
)
@wait_option("Follow it to the end, or only begin it.", default=True)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, as Markdown.")
@json_option
def reindex(model: str | None, wait: bool, report: Path | None, as_json: bool, **options: Any) -> None:
    """Embed every picture with MODEL beside the active one, and evaluate both. Without MODEL: with the active one.

    Anew is for a change of the runtime or of how pictures are decoded, or in doubt. Searches, uploads and imports go
    on meanwhile. MODEL is an id, the beginning of one, or a name: see `umbel models list`. Interrupting this command
    does not end the job: that is `umbel jobs cancel JOB`. How to read the report: docs/how-to/models.md.

    \b
    umbel reindex                                    # again, with the active model
    umbel reindex petals --activate
    umbel reindex --mode index --m 32 --ef-construction 200
    umbel reindex --mode index --kind bits           # for a large gallery: docs/how-to/recall.md
    """
    _check(options, wait=wait, report=report)
    with api_client() as api:
        version = find_model(list(api.models.list()), model).id if model else None
        job = api.admin.reindex(model_version=version, **options).job()
        if wait:
            job = followed(api, job, quiet=as_json)
    if as_json:
        print_json(job.as_dict())
    elif wait:
        show_outcome(job)
    else:
        say(f"Begun as job {job.id}. How far it is: umbel jobs show {job.id}")
    if report:
        report.write_text(as_markdown(report_of(job)), encoding="utf-8")
    to_switch = not model if options["activate"] is None else options["activate"]
    if wait and not succeeded(job, to_switch=to_switch):
        sys.exit(1)


def _check(options: dict[str, Any], *, wait: bool, report: Path | None) -> None:
    index = options["mode"] == "index"
    if index and options["activate"]:
        raise click.UsageError("--activate goes with --mode embeddings.")
    if not index and any(options[name] is not None for name in ("m", "ef_construction", "kind")):
        raise click.UsageError("--m, --ef-construction and --kind go with --mode index.")
    if report and not wait:
        raise click.UsageError("--report needs --wait.")


def show_outcome(job: Job) -> None:
    """Print the report, and the failed images."""
    show_report(report_of(job))
    if job.counts.failed:
        with api_client() as api:
            show_failures(api, job)


def succeeded(job: Job, *, to_switch: bool) -> bool:
    """Whether the reindex did what was asked for."""
    assert job.reindex is not None
    return job.status not in ("failed", "cancelled") and (job.reindex.switched or not to_switch)


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a reindex: a title, a table and sentences. A line with a dash belongs to the one before."""

    title: str
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def show_report(report: Report) -> None:
    """Print the report."""
    say(report.title, bold=True)
    if report.rows:
        say()
        table(None, report.columns, report.rows, right=" ".join(report.columns[1:]))
        say()
    for line in report.lines:
        say(f"  {line}" if line.startswith("- ") else line)


def as_markdown(report: Report) -> str:
    """The report as a page of Markdown."""
    parts = [f"# {report.title}"]
    if report.rows:
        cells = [report.columns, ("---", *["---:"] * (len(report.columns) - 1)), *report.rows]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in cells))
    return "\n\n".join([*parts, *report.lines]) + "\n"


def report_of(job: Job) -> Report:
    """The report of a reindex that has ended."""
    assert job.reindex is not None
    report = job.reindex.report or {}
    if job.status == "cancelled":
        kept = f"What was embedded is kept: umbel reindex {job.model_version} goes on from there."
        return Report("The reindex was cancelled", lines=[kept])
    if "gate" not in report and "after" not in report:
        return Report("The reindex failed", lines=[job.error or f"Why: umbel jobs show {job.id}"])
    if job.reindex.mode == "index":
        return Report("The index, built anew", INDEX_COLUMNS, [*_index_rows(report)], [*_kept(report)])
    title = f"{report['candidate']} beside {report['active']}, {report['pictures']:,} pictures"
    return Report(title, MODEL_COLUMNS, [*_metric_rows(report)], [*_found(report), *_verdict(report), *_next(job)])


def _index_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    shown = {
        "kind": ("kind", "{}"),
        "m": ("m", "{:d}"),
        "ef_construction": ("ef_construction", "{:d}"),
        "bytes": ("bytes", "{:,d}"),
        "recall_at_10": ("recall@10", "{:.4f}"),
        "ms": ("ms a search", "{:.2f}"),
    }
    for key, (name, form) in shown.items():
        values = [report[when].get(key) for when in ("before", "after")]
        if any(value is not None for value in values):
            yield name, *("unknown" if value is None else form.format(value) for value in values)


def _kept(report: dict[str, Any]) -> Iterator[str]:
    if not report.get("switched", True):
        yield "The former index stays."
        yield from (f"- {reason}" for reason in report["gate"]["reasons"])
        yield "To take the new one all the same, repeat the command with a larger --max-drop."


def _metric_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, one in (report["judged"] or {"metrics": {}})["metrics"].items():
        difference = f"{one['candidate'] - one['active']:+.3f}"
        sure = f"[{one['low']:+.3f}, {one['high']:+.3f}]"
        yield METRICS[key], f"{one['active']:.3f}", f"{one['candidate']:.3f}", difference, sure


def _found(report: dict[str, Any]) -> Iterator[str]:
    if judged := report["judged"]:
        learnt_from = report["learnt_from"]
        left_out = (
            "It was registered without a split, so it may have learnt from some of them."
            if learnt_from is None
            else f"{learnt_from:,} that it has learnt from are left out."
        )
        labels, every = judged["classes"], report.get("gallery_classes")
        of = f", drawn from {every:,}" if every and every > labels else ""
        yield from report.get("findings", ())
        yield f"Judged on {judged['queries']:,} labelled pictures of {labels:,} labels{of}. {left_out}"
        if report.get("flattered"):
            flatters = "which flatters it: too few are left that neither knows."
            yield f"{report['active']} was trained on some of them, {flatters}"
    if report["recall_at_10"] is not None:
        yield f"Its index finds {report['recall_at_10']:.1%} of the ten nearest that an exact search finds."
    if report["overlap_at_10"] is not None:
        yield f"Of the ten nearest to a picture, {report['overlap_at_10']:.0%} are the same with both."
    missing = report["missing"]
    yield f"{missing:,} pictures are missing: they could not be embedded." if missing else "No picture is missing."


def _verdict(report: dict[str, Any]) -> Iterator[str]:
    gate = report["gate"]
    if gate["passed"]:
        allowed = f"by more than {gate['max_drop']:g} " if gate["max_drop"] else ""
        yield f"The gate: passed. Neither metric fell {allowed}with 95 % certainty."
    else:
        yield "The gate: not passed."
        yield from (f"- {reason}" for reason in gate["reasons"])


def _next(job: Job) -> Iterator[str]:
    assert job.reindex is not None
    report: dict[str, Any] = job.reindex.report or {}
    active, candidate, model = report["active"], report["candidate"], job.model_version
    if job.reindex.switched:
        yield f"Switched: {candidate} is active. Back to {active}: umbel models rollback"
        return
    yield f"Not switched: {active} stays active."
    if report["missing"]:
        yield f"What failed, and why: umbel jobs show {job.id}. To try it again: umbel jobs retry {job.id}"
    elif report["gate"]["passed"]:
        yield f"{candidate} has every picture and is on standby. To switch: umbel models activate {model}"
    else:
        yield f"To give {candidate} up: umbel models retire {model}"
        yield f"To switch all the same: umbel models activate {model}"
