"""/v1/syncs: folders and buckets that are followed."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, ConfigDict, Field

from api import audit
from api.access import check_import_from, into, reach
from api.caller import caller
from api.errors import problems
from api.fields import IntoCollection, Links, NextCursor, PageQuery, Strict, answer_of, link_to, page_of
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.errors import InvalidInput
from umbel.base.settings import settings
from umbel.base.types import JobStatus, Queue
from umbel.imports.sources.source import FolderSource, S3Source
from umbel.imports.sync import syncs
from umbel.imports.sync.syncs import Run, SyncState
from umbel.jobs.wakeup import waker

bp = APIBlueprint("syncs", __name__, tag="Syncs")

EVERY_SECONDS = 900
LONGEST = 366 * 86_400
Every = Annotated[
    int, Field(ge=10, le=LONGEST, description="Seconds from one run to the next; a run that takes longer delays it.")
]
MaxVanished = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="A run that misses more than this share of the files that are known, as of a disk that is not"
        " mounted, removes nothing and says so.",
    ),
]


class SyncIn(Strict):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"source": {"type": "s3", "url": "s3://pictures/2026"}, "collection": "garden", "every_seconds": 900}
            ]
        }
    )

    source: Annotated[FolderSource | S3Source, Field(discriminator="type")]
    collection: IntoCollection = None
    label_from_folder: bool = Field(False, description="Label each picture with the name of its folder.")
    every_seconds: Every = EVERY_SECONDS
    max_vanished: MaxVanished = 0.5
    adopt: bool = Field(
        False,
        description="Images that the collection has already count as the source's: they are removed, too, when their"
        " files are gone.",
    )
    paused: bool = Field(False, description="Begin no run yet: a dry run tells what the first one would do.")


class SyncPatchIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"every_seconds": 3600}]})

    every_seconds: Every | None = None
    max_vanished: MaxVanished | None = None


class RunIn(Strict):
    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}]})

    dry_run: bool = Field(False, description="Only list: the run's report says what would come, change and go.")
    allow_vanished: bool = Field(False, description="Remove what is gone, however many files that are.")


class ReportOut(BaseModel):
    """How many files of each kind a run found; of a dry run also which, a hundred of each at most."""

    new: int = 0
    changed: int = Field(0, description="Their former images are removed, unless other files have the same bytes.")
    renamed: int = Field(0, description="Their images stay. Of a dry run: those that look so by size and time.")
    vanished: int = Field(0, description="Images that are removed, as their files are gone.")
    unchanged: int = 0
    failed: int = Field(0, description="New or changed files that could not be taken: failed items of the job.")
    new_files: list[str] | None = None
    changed_files: list[str] | None = None
    vanished_files: list[str] | None = None


class RunOut(BaseModel):
    job_id: UUID
    status: JobStatus
    dry_run: bool
    report: ReportOut
    error_code: str | None = Field(
        description="Why nothing was removed, or not all listed, for programs.", examples=[None]
    )
    error: str | None = Field(description="The same for people.", examples=[None])
    created_at: datetime
    finished_at: datetime | None


class SyncOut(BaseModel):
    id: UUID
    type: Literal["folder", "s3"]
    location: str = Field(description="The folder or bucket.", examples=["s3://pictures/2026"])
    include_hidden: bool
    in_place: bool = Field(description="The pictures are not copied.", examples=[False])
    collection: str = Field(examples=["garden"])
    label_from_folder: bool
    every_seconds: int = Field(examples=[900])
    max_vanished: float = Field(examples=[0.5])
    adopt: bool
    paused: bool = Field(examples=[False])
    files: int = Field(description="Files whose images are known.", examples=[240])
    next_run: datetime
    last_run: RunOut | None = Field(description="The newest; null: there was none so far.")
    created_by: str = Field(description="Name of the key.", examples=["shop (0123456789ab)"])
    created_at: datetime
    links: Links


class SyncsOut(BaseModel):
    items: list[SyncOut]
    next_cursor: NextCursor


class RunBegunOut(BaseModel):
    job_id: UUID
    status: JobStatus


@bp.post("/v1/syncs")
@bp.input(SyncIn, arg_name="body")
@bp.output(SyncOut, status_code=201, description="Added; its first run begins")
@bp.doc(responses=problems(409))
def add_sync(body: SyncIn) -> Any:
    """Follow a folder of the server or a bucket: import what is new or changed there, and remove what is gone.

    The source lies below UMBEL_IMPORT_ROOTS and the import roots of the key. A file that is renamed keeps its image; an
    image whose file is gone goes to the trash. 409 where the collection follows the source already.
    """
    location = _location(body.source.model_dump())
    check_import_from(location)
    collection = into(body.collection)
    audit.note(location=location, collection=collection)
    sync_id = syncs.add_sync(
        transaction,
        blobs(),
        settings(),
        body.source,
        collection=collection,
        roots=caller().import_roots,
        created_by=caller().name,
        **body.model_dump(exclude={"source", "collection"}),
    )
    waker().wake(Queue.FETCH)
    return _described(sync_id), 201, {"Location": url_for("syncs.get_sync", sync_id=sync_id)}


@bp.get("/v1/syncs")
@bp.input(PageQuery, location="query", arg_name="query")
@bp.output(SyncsOut)
def list_syncs(query: PageQuery) -> Any:
    """List the syncs, newest first, each with its last run."""
    with transaction() as session:
        rows = syncs.list_syncs(session, before=query.cursor, limit=query.limit + 1, within=reach())
    page, cursor = page_of(rows, query.limit)
    return SyncsOut(items=[_out(row) for row in page], next_cursor=cursor)


@bp.get("/v1/syncs/<uuid:sync_id>")
@bp.output(SyncOut)
def get_sync(sync_id: UUID) -> Any:
    """Describe a sync, with its last run."""
    return _described(sync_id)


@bp.patch("/v1/syncs/<uuid:sync_id>")
@bp.input(SyncPatchIn, arg_name="patch")
@bp.output(SyncOut)
def change_sync(sync_id: UUID, patch: SyncPatchIn) -> Any:
    """Change how often a sync runs, or how many files may vanish at once."""
    changes = patch.model_dump(exclude_none=True)
    if not changes:
        raise InvalidInput("Give every_seconds or max_vanished to change.")
    audit.note(**changes)
    return _changed(sync_id, changes)


@bp.delete("/v1/syncs/<uuid:sync_id>")
@bp.output({}, status_code=204)
def remove_sync(sync_id: UUID) -> Any:
    """Follow the source no longer. Its images stay."""
    with transaction() as session:
        sync = syncs.get_sync(session, sync_id)
        audit.note(location=_location(sync.spec), collection=sync.collection)
        syncs.remove_sync(session, sync_id)
    return ""


@bp.post("/v1/syncs/<uuid:sync_id>/run")
@bp.input(RunIn, arg_name="body")
@bp.output(RunBegunOut, status_code=202, description="Begun")
@bp.doc(responses=problems(409))
def run_sync(sync_id: UUID, body: RunIn) -> Any:
    """Run a sync now, also a paused one; 409 while a run of it goes on. `last_run` of the sync has what it did."""
    audit.note(**body.model_dump(exclude_defaults=True))
    with transaction() as session:
        job_id = syncs.start_run(session, sync_id, dry_run=body.dry_run, allow_vanished=body.allow_vanished)
    waker().wake(Queue.FETCH)
    begun = RunBegunOut(job_id=job_id, status=JobStatus.QUEUED)
    return begun, 202, {"Location": url_for("jobs.get_job", job_id=job_id)}


@bp.post("/v1/syncs/<uuid:sync_id>/pause")
@bp.output(SyncOut)
def pause_sync(sync_id: UUID) -> Any:
    """Begin no more runs until the sync is resumed; one that goes on comes to its end. Twice is harmless."""
    return _changed(sync_id, {"paused": True})


@bp.post("/v1/syncs/<uuid:sync_id>/resume")
@bp.output(SyncOut)
def resume_sync(sync_id: UUID) -> Any:
    """Begin runs again, at once if one is due. Twice is harmless."""
    return _changed(sync_id, {"paused": False})


def _changed(sync_id: UUID, changes: dict[str, Any]) -> SyncOut:
    with transaction() as session:
        syncs.change_sync(session, sync_id, changes)
    waker().wake(Queue.MAINTENANCE)  # the sweep begins what is due
    return _described(sync_id)


def _described(sync_id: UUID) -> SyncOut:
    with transaction() as session:
        return _out(syncs.get_sync(session, sync_id))


def _out(sync: SyncState) -> SyncOut:
    link = link_to(f"/v1/syncs/{sync.id}")
    links = {"self": link} | {part: f"{link}/{part}" for part in ("run", "pause", "resume")}
    if sync.last:
        links["last_job"] = link_to(f"/v1/jobs/{sync.last.job_id}")
    spec, last = sync.spec, sync.last and _run(sync.last)
    beside = {name: spec[name] for name in ("type", "include_hidden", "in_place")} | {"location": _location(spec)}
    return answer_of(SyncOut, sync, **beside, last_run=last, links=links)


def _run(run: Run) -> RunOut:
    return answer_of(RunOut, run, report=ReportOut.model_validate(run.report))


def _location(spec: dict[str, Any]) -> str:
    return str(spec.get("path") or spec["url"])
