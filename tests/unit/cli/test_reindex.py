"""The report of a reindex as a person reads it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from umbel_client import Job

from cli.reindex import as_markdown, report_of, show_report

MODEL, JOB = UUID(int=1), UUID(int=2)
REPORT: dict[str, Any] = {
    "active": "umbel-b0",
    "candidate": "petals",
    "pictures": 1200,
    "missing": 0,
    "learnt_from": 960,
    "flattered": False,
    "gallery_classes": 30,
    "findings": ["R@1 rose by 0.017 (0.004 to 0.029 with 95 % certainty)."],
    "judged": {
        "queries": 240,
        "classes": 12,
        "metrics": {
            "r_at_1": {"active": 0.925, "candidate": 0.9416, "low": 0.004, "high": 0.0291},
            "map_at_r": {"active": 0.61, "candidate": 0.6, "low": -0.021, "high": 0.001},
        },
    },
    "recall_at_10": 0.998,
    "overlap_at_10": 0.71,
    "gate": {"passed": True, "max_drop": 0.02, "reasons": []},
}
FELL = "MAP@R fell by 0.010 (0.002 to 0.021 with 95 % certainty), more than the 0 allowed."
REFUSED: dict[str, Any] = {"passed": False, "max_drop": 0, "reasons": [FELL]}


def ended(report: dict[str, Any] | None, *, status: str = "succeeded", mode: str = "embeddings", **values: Any) -> Job:
    counts = {"total": 3, "pending": 0, "indexed": 3, "duplicate": 0, "failed": 0, "cancelled": 0}
    reindex = {"mode": mode, "phase": "done", "activate": True, "max_drop": 0, "eta_seconds": None, "report": report}
    now = datetime.now(UTC)
    times = {"created_at": now, "started_at": now, "finished_at": now}
    common = {"id": JOB, "type": "reindex", "model_version": MODEL, "attempts": 1, "error": None}
    return Job.decode(common | times | {"status": status, "counts": counts, "reindex": reindex} | values)


def test_what_passed_and_was_switched_to() -> None:
    story = report_of(ended(REPORT | {"switched": True}))
    assert story.title == "petals beside umbel-b0, 1,200 pictures"
    assert story.rows == [
        ("R@1", "0.925", "0.942", "+0.017", "[+0.004, +0.029]"),
        ("MAP@R", "0.610", "0.600", "-0.010", "[-0.021, +0.001]"),
    ]
    assert story.lines == [
        "R@1 rose by 0.017 (0.004 to 0.029 with 95 % certainty).",
        "Judged on 240 labelled pictures of 12 labels, drawn from 30. 960 that it has learnt from are left out.",
        "Its index finds 99.8% of the ten nearest that an exact search finds.",
        "Of the ten nearest to a picture, 71% are the same with both.",
        "No picture is missing.",
        "The gate: passed. Neither metric fell by more than 0.02 with 95 % certainty.",
        "Switched: petals is active. Back to umbel-b0: umbel models rollback",
    ]


def test_what_was_refused_says_why_and_what_can_be_done() -> None:
    lines = report_of(ended(REPORT | {"gate": REFUSED, "switched": False})).lines
    assert lines[lines.index("The gate: not passed.") :] == [
        "The gate: not passed.",
        f"- {FELL}",
        "Not switched: umbel-b0 stays active.",
        f"To give petals up: umbel models retire {MODEL}",
        f"To switch all the same: umbel models activate {MODEL}",
    ]


def test_pictures_that_are_missing_are_to_be_tried_again() -> None:
    lines = report_of(ended(REPORT | {"missing": 2, "gate": REFUSED})).lines
    assert "2 pictures are missing: they could not be embedded." in lines
    assert f"umbel jobs retry {JOB}" in lines[-1]


def test_what_passed_unasked_stands_by() -> None:
    assert f"umbel models activate {MODEL}" in report_of(ended(REPORT | {"switched": False})).lines[-1]


def test_what_could_not_be_judged_has_no_table() -> None:
    nothing = {"judged": None, "findings": [], "recall_at_10": None, "overlap_at_10": None, "gate": REFUSED}
    story = report_of(ended(REPORT | nothing))
    assert (story.rows, story.lines[0]) == ([], "No picture is missing.")


def test_what_makes_the_figures_less_sure_is_said() -> None:
    lines = report_of(ended(REPORT | {"learnt_from": None, "flattered": True})).lines
    assert "without a split" in lines[1]
    assert "flatters" in lines[2]


def test_failed_and_cancelled() -> None:
    assert report_of(ended(None, status="failed", error="The weights do not fit.")).lines == ["The weights do not fit."]
    assert report_of(ended(None, status="cancelled")).title == "The reindex was cancelled"


def test_an_index_before_and_after() -> None:
    before = {"kind": "halfvec", "bytes": 204_800, "m": 24, "ef_construction": 128, "recall_at_10": 0.995, "ms": 1.2}
    after = {"kind": "bits", "bytes": 172_032, "m": 16, "ef_construction": 64}
    story = report_of(ended({"before": before, "after": after}, mode="index"))
    assert story.columns == ("index", "before", "after")
    assert story.rows == [
        ("kind", "halfvec", "bits"),
        ("m", "24", "16"),
        ("ef_construction", "128", "64"),
        ("bytes", "204,800", "172,032"),
        ("recall@10", "0.9950", "unknown"),
        ("ms a search", "1.20", "unknown"),
    ]


def test_as_a_page_and_in_a_terminal(capsys: Any) -> None:
    story = report_of(ended(REPORT | {"gate": REFUSED}))
    page = as_markdown(story)
    assert page.startswith("# petals beside umbel-b0, 1,200 pictures\n\n| metric | active |")
    assert "| R@1 | 0.925 | 0.942 | +0.017 | [+0.004, +0.029] |" in page
    show_report(story)
    shown = capsys.readouterr().out
    assert "  - MAP@R fell" in shown
    assert "[+0.004, +0.029]" in shown
