"""A reindex from phase to phase. Each step is a transaction or bears being done twice: killed anywhere, it goes on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import autocommit
from umbel.base.errors import BadCheckpoint, BlobMissing, Conflict, NotReady, TransientError, UmbelError
from umbel.base.settings import Settings
from umbel.base.tables import Job, ModelVersion, Reindex
from umbel.base.types import Compare, IndexKind, Models, ModelState, Queue, ReindexMode, ReindexPhase
from umbel.jobs import jobs
from umbel.jobs.runner import StepHandler
from umbel.models import partitions, reindexes, versions
from umbel.models.lifecycle import switch
from umbel.models.partitions import Hnsw
from umbel.models.versions import VersionKey
from umbel.reindex.acceptance_check import K, judge, judge_kind
from umbel.search.recall import measure_recall

log = structlog.get_logger()

LISTED = 5_000  # pictures in one transaction
SAMPLE, SECONDS = 100, 20.0  # searches, and the time for them, by which a rebuilt index is measured


@dataclass(kw_only=True, eq=False)
class ReindexHandler(StepHandler):
    """Brings the reindex that is under way as far as it goes: until it is done, or its items have to be embedded."""

    blobs: Blobs
    models: Models
    compare: Compare
    settings: Settings

    queues = (Queue.REINDEX,)
    alone = "umbel reindex"

    def step(self) -> bool:
        """What its phase asks for next."""
        with self.transaction() as session:
            reindex = reindexes.find_workable(session)
            if reindex is None:
                return False
            job = jobs.get_job(session, reindex.job_id)
            version = versions.get_version(session, job.model_version_id)  # type: ignore[arg-type]
        steps: dict[str, Callable[[Reindex, Job, ModelVersion], bool]] = {
            ReindexPhase.LISTING: self._list,
            ReindexPhase.EMBEDDING: self._await_embedding,
            ReindexPhase.INDEXING: self._build,
            ReindexPhase.EVALUATING: self._evaluate,
            ReindexPhase.SWITCHING: self._switch,
        }
        return steps[reindex.phase](reindex, job, version)

    def _list(self, reindex: Reindex, job: Job, version: ModelVersion) -> bool:
        if version.state == ModelState.REGISTERED and not self._try_model(reindex, version):
            return False
        with self.transaction() as session:
            active = versions.get_active_key(session)
            last = reindexes.insert_lacking(
                session,
                job.id,
                active=active.id,
                version_id=version.id,
                after=reindex.position,
                limit=LISTED,
            )
            phase = ReindexPhase.LISTING if last else ReindexPhase.EMBEDDING
            return reindexes.change_reindex(session, job.id, phase=phase, position=last)

    def _try_model(self, reindex: Reindex, version: ModelVersion) -> bool:
        """Load the model once before new pictures must be embedded with it: one that cannot be loaded would stop them.

        From the moment that it is backfilling all new pictures are, so those that are listed after are all the others.
        """
        try:
            [model] = self.models.load([version.id])
            if model.embedder.dim != version.dim:
                raise BadCheckpoint(f"The model makes vectors of {model.embedder.dim} numbers, not {version.dim}.")
        except (BadCheckpoint, BlobMissing) as error:
            self._fail(reindex, error)
            return False
        with self.transaction() as session:
            versions.lock_states(session)
            if not reindexes.change_reindex(session, reindex.job_id, position=None):
                return False
            versions.release_standby(session)
            versions.change_version(session, version.id, state=ModelState.BACKFILLING)
        return True

    def _await_embedding(self, reindex: Reindex, job: Job, version: ModelVersion) -> bool:
        if job.pending:
            return False
        with self.transaction() as session:
            return reindexes.change_reindex(session, job.id, phase=ReindexPhase.INDEXING)

    def _build(self, reindex: Reindex, job: Job, version: ModelVersion) -> bool:
        memory: dict[str, Any] = {
            "memory_mb": self.settings.index_memory_mb,
            "processes": self.settings.index_processes,
        }
        rebuilt = reindex.mode == ReindexMode.INDEX
        try:
            with autocommit() as session:
                if rebuilt:
                    ours = partitions.rebuild_index(session, version.id, version.dim, hnsw=Hnsw.of(reindex), **memory)
                else:
                    ours = partitions.build_index(session, version.id, version.dim, **memory)
        except (NotReady, TransientError):
            if self._is_over(reindex):
                return self._tidy(reindex, version)
            raise
        phase = ReindexPhase.SWITCHING if rebuilt else ReindexPhase.EVALUATING
        with self.transaction() as session:
            changed = ours and reindexes.change_reindex(session, job.id, phase=phase)
        return changed or self._tidy(reindex, version)

    def _evaluate(self, reindex: Reindex, job: Job, version: ModelVersion) -> bool:
        if reindex.mode == ReindexMode.INDEX:
            return self._measure(reindex, version)
        report = judge(self.transaction, self.blobs, self.compare, reindex, version.id).as_dict()
        with self.transaction() as session:
            return reindexes.change_reindex(session, job.id, phase=ReindexPhase.SWITCHING, report=report)

    def _measure(self, reindex: Reindex, version: ModelVersion) -> bool:
        """The index before it is rebuilt, and after; one of another kind that finds too little loses its place."""
        known = reindex.report or {}
        if "after" in known:
            with autocommit() as session:
                partitions.drop_rebuilt_index(session, version.id)
            with self.transaction() as session:
                self._end(session, reindex, known)
            return False
        found = self._measured(version)
        if "before" not in known:
            with self.transaction() as session:
                report = {"before": found}
                return reindexes.change_reindex(session, reindex.job_id, phase=ReindexPhase.INDEXING, report=report)
        gate = judge_kind(known["before"], found, reindex.max_drop)
        with self.transaction() as session:
            kept = gate.passed or not partitions.swap_index(session, version.id, _hnsw_in(known["before"]))
            report = known | {"after": found, "gate": asdict(gate), "switched": kept}
            changed = reindexes.change_reindex(session, reindex.job_id, phase=ReindexPhase.EVALUATING, report=report)
        log.info("the index was rebuilt", model=version.name, switched=kept, objections=gate.reasons)
        return changed or self._tidy(reindex, version)

    def _measured(self, version: ModelVersion) -> dict[str, Any]:
        with self.transaction() as session:
            state = partitions.find_index_state(session, version.id)
        found: dict[str, Any] = {"bytes": state.bytes, **asdict(state.hnsw)} if state else {}
        try:
            key = VersionKey(version.id, version.dim)
            measured = measure_recall(self.transaction, k=K, sample=SAMPLE, seconds=SECONDS, version=key)
        except Conflict:  # no index, or nothing to search for
            return found
        return {**found, "recall_at_10": measured.recall, "ms": measured.index_ms}

    def _switch(self, reindex: Reindex, job: Job, version: ModelVersion) -> bool:
        if reindex.mode == ReindexMode.INDEX:
            return self._swap_index(reindex, version)
        report = reindex.report or {}
        with self.transaction() as session:
            versions.lock_states(session)
            active = versions.get_active_key(session)
            if not report["missing"] and reindexes.count_lacking(
                session, active=active.id, version_id=version.id, most=1
            ):
                # Another version was activated meanwhile, and that one has images which this one lacks.
                return reindexes.change_reindex(session, job.id, phase=ReindexPhase.LISTING, position=None)
            switched = reindex.activate and report["gate"]["passed"]
            if not self._end(session, reindex, {**report, "switched": switched}):
                return False
            if switched:
                switch(session, version.id)
            else:
                versions.release_standby(session)  # another version, if one was activated meanwhile: there is one place
                versions.change_version(session, version.id, state=ModelState.READY)
        log.info("reindexed", model=version.name, switched=switched, objections=report["gate"]["reasons"])
        return False

    def _swap_index(self, reindex: Reindex, version: ModelVersion) -> bool:
        with self.transaction() as session:
            if not reindexes.change_reindex(session, reindex.job_id, phase=ReindexPhase.EVALUATING):
                return False
            if partitions.swap_index(session, version.id, Hnsw.of(reindex)):
                return True
        with self.transaction() as session:  # what was built is gone, or broken
            return reindexes.change_reindex(session, reindex.job_id, phase=ReindexPhase.INDEXING)

    def _end(self, session: Session, reindex: Reindex, report: dict[str, Any] | None) -> bool:
        """False where it has ended already: it was cancelled."""
        ended = reindexes.change_reindex(session, reindex.job_id, done=True, phase=ReindexPhase.DONE, report=report)
        if ended:
            jobs.close_job(session, reindex.job_id)
        return ended

    def _fail(self, reindex: Reindex, error: UmbelError) -> None:
        log.error("a reindex failed", job_id=str(reindex.job_id), error=error.detail)
        with self.transaction() as session:
            if self._end(session, reindex, None):
                jobs.set_error(session, reindex.job_id, error)

    def _is_over(self, reindex: Reindex) -> bool:
        with self.transaction() as session:
            running = reindexes.find_running(session)
        return running is None or running.job_id != reindex.job_id

    def _tidy(self, reindex: Reindex, version: ModelVersion) -> bool:
        """Leave no second index behind, which would be kept up to date and never used."""
        if reindex.mode == ReindexMode.INDEX and self._is_over(reindex):
            with autocommit() as session:
                partitions.drop_rebuilt_index(session, version.id)
        return False


def _hnsw_in(measured: dict[str, Any]) -> Hnsw:
    return Hnsw(measured["m"], measured["ef_construction"], IndexKind(measured["kind"]))
