"""What a reindex came to, told to people: in a terminal, or as a page of Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click
from umbel_client import Job

from cli.output import table

METRICS = {"r_at_1": "R@1", "map_at_r": "MAP@R"}
MODEL_COLUMNS = ("metric", "active", "candidate", "difference", "95 %")
INDEX_COLUMNS = ("index", "before", "after")


@dataclass(frozen=True, slots=True)
class Story:
    """A title, a table, and what is to be said of it; a line that begins with a dash belongs to the one before."""

    title: str
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def show_story(story: Story) -> None:
    """Print it."""
    click.echo(click.style(story.title, bold=True))
    if story.rows:
        click.echo()
        table(None, story.columns, story.rows, right=" ".join(story.columns[1:]))
        click.echo()
    for line in story.lines:
        click.echo(f"  {line}" if line.startswith("- ") else line)


def as_markdown(story: Story) -> str:
    """The same as a page."""
    parts = [f"# {story.title}"]
    if story.rows:
        cells = [story.columns, ("---", *["---:"] * (len(story.columns) - 1)), *story.rows]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in cells))
    return "\n\n".join([*parts, *story.lines]) + "\n"


def tell(job: Job) -> Story:
    """The story of a reindex that has ended."""
    assert job.reindex is not None
    report = job.reindex.report or {}
    if job.status == "cancelled":
        kept = "What was embedded is kept: another reindex with the same model goes on from there."
        return Story("The reindex was cancelled", lines=[kept])
    if "gate" not in report and "after" not in report:
        return Story("The reindex failed", lines=[job.error or f"Why: umbel jobs show {job.id}"])
    if job.reindex.mode == "index":
        return Story("The index, built anew", INDEX_COLUMNS, [*_index_rows(report)])
    title = f"{report['candidate']} beside {report['active']}, {report['pictures']:,} pictures"
    return Story(title, MODEL_COLUMNS, [*_metric_rows(report)], [*_found(report), *_verdict(report), *_next(job)])


def _index_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    shown = {
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


def _metric_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, one in (report["judged"] or {"metrics": {}})["metrics"].items():
        difference = f"{one['candidate'] - one['active']:+.3f}"
        sure = f"[{one['low']:+.3f}, {one['high']:+.3f}]"
        yield METRICS[key], f"{one['active']:.3f}", f"{one['candidate']:.3f}", difference, sure


def _found(report: dict[str, Any]) -> Iterator[str]:
    if judged := report["judged"]:
        yield f"Judged on {judged['queries']:,} labelled pictures of {judged['classes']:,} labels. {_left_out(report)}"
        yield from _flattery(report)
    if report["recall_at_10"] is not None:
        yield f"Its index finds {report['recall_at_10']:.1%} of the ten nearest that an exact search finds."
    if report["overlap_at_10"] is not None:
        yield f"Of the ten nearest to a picture, {report['overlap_at_10']:.0%} are the same with both."
    missing = report["missing"]
    yield f"{missing:,} pictures are missing: they could not be embedded." if missing else "No picture is missing."


def _left_out(report: dict[str, Any]) -> str:
    if report["learnt_from"] is None:
        return "It was registered without a split, so it may have learnt from some of them."
    return f"{report['learnt_from']:,} that it has learnt from are left out."


def _flattery(report: dict[str, Any]) -> Iterator[str]:
    if report.get("flattered"):
        yield f"{report['active']} was trained on some of them, which flatters it: too few are left that neither knows."


def _verdict(report: dict[str, Any]) -> Iterator[str]:
    gate = report["gate"]
    if gate["passed"]:
        allowed = f"falls by more than {gate['max_drop']:g}" if gate["max_drop"] else "falls"
        yield f"The gate: passed. Neither metric {allowed}."
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
