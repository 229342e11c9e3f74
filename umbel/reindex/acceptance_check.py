"""Judging a model version beside the active one: on labelled pictures, by its index, by what changes; and the gate.

The gate refuses a version whose metric fell by more than is allowed *with 95 % certainty*: the whole interval of the
paired difference lies below −max_drop. A difference that chance may have made does not refuse it, so few labels catch
large drops only; the findings say how large a drop may have gone unseen.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.errors import BlobMissing
from umbel.base.tables import ModelVersion, Reindex
from umbel.base.types import Compare, Compared, Comparison
from umbel.embedding import embeddings
from umbel.models import reindexes, versions
from umbel.models.checkpoints import hashes_of, split_key
from umbel.models.versions import VersionKey
from umbel.reindex.labelled_sample import count_labelled, sample_labelled
from umbel.search import recall
from umbel.search.nearest import Scope, ef_search_for, nearest_images

LEAST = 20  # labelled pictures with another of their kind; of fewer nothing can be said
SEARCHES = 200  # by which the lists of both versions, and the index, are compared
K = 10
RECALL = 0.95  # of the candidate's index that the gate asks for


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a version may become active by itself, and if not, why not: sentences for people."""

    passed: bool
    max_drop: float
    reasons: list[str]


def judge_kind(before: dict[str, Any], after: dict[str, Any], max_drop: float) -> Gate:
    """Whether an index of another kind finds enough. before, after: what was measured of both."""
    reasons = []
    if before.get("kind") != after.get("kind"):
        former, new = (one.get("recall_at_10") for one in (before, after))
        if former is not None and new is not None and new < former - max_drop:
            reasons.append(
                f"An index of the kind {after['kind']} finds {new:.1%} of the ten nearest, in place of {former:.1%}:"
                f" more than {max_drop:g} less."
            )
    return Gate(not reasons, max_drop, reasons)


@dataclass(frozen=True, slots=True)
class Report:
    """A candidate beside the active version.

    missing: pictures that only the active one finds; learnt_from: labelled pictures left out, since the candidate was
    trained on them; None: it was not registered with a split. flattered: whether the active one was trained on some of
    those that are judged on, since too few are left that neither was. gallery_classes: the labels that those judged are
    a sample of. findings: what the metrics say, sentences for people. recall: of its index, overlap: of the ten nearest
    by either, both in [0, 1]; None where nothing could be searched.
    """

    active: str
    candidate: str
    pictures: int
    missing: int
    learnt_from: int | None
    flattered: bool
    judged: Comparison | None
    gallery_classes: int | None
    recall_at_10: float | None
    overlap_at_10: float | None
    findings: list[str] = field(default_factory=list)
    gate: Gate = field(default_factory=lambda: Gate(False, 0, []))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(transaction: Transaction, blobs: Blobs, compare: Compare, reindex: Reindex, candidate: UUID) -> Report:
    """Compare `candidate` with the version that is active now. Raises NotReady, TransientError."""
    with transaction() as session:
        active = versions.get_active_version(session)
        version = versions.get_version(session, candidate)
    learnt_from, active_learnt_from = (_learnt_from(blobs, one) for one in (version, active))
    with transaction() as session:
        missing = reindexes.count_lacking(session, active=active.id, version_id=candidate)
        pictures = recall.count_embeddings(session, candidate)
        left_out = None if learnt_from is None else count_labelled(session, learnt_from)
        judged, classes = _judged(
            session, compare, active, version, without=[*(learnt_from or ()), *(active_learnt_from or ())]
        )
        flattered = judged is None and bool(active_learnt_from)
        if flattered:  # on the safe side: the candidate has to be as good where only the other knows the answers
            judged, classes = _judged(session, compare, active, version, without=learnt_from or ())
        searched = recall.sample_images(session, candidate, SEARCHES)
    overlaps, recalls = _searches(transaction, active, version, searched)
    report = Report(
        active=active.name,
        candidate=version.name,
        pictures=pictures,
        missing=missing,
        learnt_from=left_out,
        flattered=flattered and judged is not None,
        judged=judged,
        gallery_classes=classes,
        findings=[_finding(NAMES[name], figure) for name, figure in judged.metrics.items()] if judged else [],
        recall_at_10=round(fmean(recalls), 4) if recalls else None,
        overlap_at_10=round(fmean(overlaps), 4) if overlaps else None,
    )
    return _gated(report, reindex.max_drop)


def _gated(report: Report, max_drop: float) -> Report:
    reasons = list(_objections(report, max_drop))
    return replace(report, gate=Gate(not reasons, max_drop, reasons))


def _objections(report: Report, max_drop: float) -> Sequence[str]:
    found = []
    if report.missing:
        found.append(f"{report.missing:,} pictures that can be found now could not be embedded with it.")
    if report.judged is None:
        found.append(
            f"Fewer than {LEAST} labelled pictures that it has not learnt from: nothing says how good it is here."
        )
    else:
        for name, figure in report.judged.metrics.items():
            if figure.high < -max_drop:
                found.append(f"{_finding(NAMES[name], figure)[:-1]}, more than the {max_drop:g} allowed.")
    if report.recall_at_10 is not None and report.recall_at_10 < RECALL:
        found.append(f"Its index finds only {report.recall_at_10:.1%} of the ten nearest, less than {RECALL:.0%}.")
    return found


NAMES = {"r_at_1": "R@1", "map_at_r": "MAP@R"}


def _finding(name: str, figure: Compared) -> str:
    """What a metric's difference and its 95 % interval say, one sentence."""
    difference = figure.candidate - figure.active
    if figure.high < 0:
        return f"{name} fell by {-difference:.3f} ({-figure.high:.3f} to {-figure.low:.3f} with 95 % certainty)."
    if figure.low > 0:
        return f"{name} rose by {difference:.3f} ({figure.low:.3f} to {figure.high:.3f} with 95 % certainty)."
    if figure.low == figure.high == 0:
        return f"{name} is the same."
    interval = f"{figure.low:+.3f} to {figure.high:+.3f} with 95 % certainty"
    return f"{name} did not change by more than chance may: {difference:+.3f} ({interval})."


def _learnt_from(blobs: Blobs, version: ModelVersion) -> list[bytes] | None:
    """SHA-256 of the pictures it was trained on, if that is known."""
    try:
        split = json.loads(blobs.get(split_key(version.weights_sha256)))
    except BlobMissing:
        return None
    return [known for one in split["pictures"] if one["role"] == "train" for known in hashes_of(one)]


def _judged(
    session: Session, compare: Compare, active: ModelVersion, candidate: ModelVersion, *, without: Sequence[bytes]
) -> tuple[Comparison | None, int | None]:
    """On labelled pictures but those, and how many labels the gallery has; None where too few are left."""
    sample = sample_labelled(session, active=active.id, candidate=candidate.id, without=without)
    groups = {group: place for place, group in enumerate(dict.fromkeys(one.group for one in sample.images))}
    labels = np.array([groups[one.group] for one in sample.images], np.intp)
    if len(groups) < 2 or int((np.bincount(labels)[labels] > 1).sum()) < LEAST:
        return None, None
    images = [one.image_id for one in sample.images]
    one, other = (embeddings.find_vectors(session, version.id, images) for version in (active, candidate))
    stacked = [np.stack([vectors[image] for image in images]) for vectors in (one, other)]
    comparison = compare(stacked[0], stacked[1], labels, by_class=len(groups) < sample.classes)
    return comparison, sample.classes


def _searches(
    transaction: Transaction, active: ModelVersion, candidate: ModelVersion, images: Sequence[UUID]
) -> tuple[list[float], list[float]]:
    """Of each search: the share of the ten nearest that both versions find, and that the candidate's index finds."""
    overlaps, recalls = [], []
    keys = [VersionKey(version.id, version.dim) for version in (active, candidate)]
    for image_id in images:
        scope = Scope(without=[image_id])
        with transaction() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})  # one snapshot
            vectors = [embeddings.find_vectors(session, key.id, [image_id]).get(image_id) for key in keys]
            if vectors[0] is None or vectors[1] is None:
                continue
            before = nearest_images(session, vectors[0], version=keys[0], k=K, scope=scope).matches
            after = nearest_images(session, vectors[1], version=keys[1], k=K, scope=scope, exact=True).matches
            ef = ef_search_for(session, keys[1], K)
            found = nearest_images(session, vectors[1], version=keys[1], k=K, scope=scope, only_ef=ef)
        if after:
            both = {match.image_id for match in before} & {match.image_id for match in after}
            overlaps.append(len(both) / len(after))
            if found.mode == "hnsw":
                recalls.append(recall.share_found(found.matches, after))
    return overlaps, recalls
