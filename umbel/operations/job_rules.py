"""What may be done to a job: one table of the scope that each type takes, and of the actions that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from umbel.access.keys import KeyScope
from umbel.base.errors import ActionRefused
from umbel.base.tables import ApiKey, Job
from umbel.base.types import JobType
from umbel.jobs import jobs
from umbel.jobs.jobs import BULK


class JobAction(StrEnum):
    CLOSE = "close"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Rule:
    """scope: what a key needs to act on such a job. admins: if an administrator began it, the scope `admin`.

    refused: actions that such a job does not take, and why.
    """

    scope: KeyScope
    admins: bool = False
    refused: Mapping[JobAction, str] = field(default_factory=dict)


RULES = {
    JobType.UPLOAD: Rule(KeyScope.WRITE),
    JobType.IMPORT: Rule(KeyScope.WRITE),
    JobType.SYNC: Rule(KeyScope.WRITE, refused={JobAction.CLOSE: "is a run of a sync: it is closed when that is done"}),
    JobType.COMPARISON: Rule(
        KeyScope.WRITE, admins=True, refused={JobAction.CLOSE: "compares images: it is closed when all are listed"}
    ),
    JobType.MAP: Rule(
        KeyScope.WRITE, admins=True, refused={JobAction.CLOSE: "computes a map: it is closed when that is done"}
    ),
    **{
        kind: Rule(
            KeyScope.WRITE,
            admins=True,
            refused={JobAction.CLOSE: "is closed when all images that it is for are listed"},
        )
        for kind in BULK
    },
    JobType.REPAIR: Rule(
        KeyScope.ADMIN, refused={JobAction.CLOSE: "repairs the gallery: it is closed when all its images are listed"}
    ),
    JobType.REINDEX: Rule(
        KeyScope.ADMIN,
        refused={JobAction.CLOSE: "is a reindex: it is closed when it ends; to end it before, cancel it"},
    ),
    JobType.DELETION: Rule(
        KeyScope.ADMIN,
        refused={
            JobAction.CLOSE: "deletes a collection: it is closed when that is gone",
            JobAction.CANCEL: "deletes a collection: what is gone does not come back. It can be paused",
        },
    ),
}


def scope_for(session: Session, job: Job) -> KeyScope:
    """The scope that acting on this job takes."""
    rule = RULES[JobType(job.type)]
    if rule.admins and job.api_key_id is not None:
        beginner = session.scalar(select(ApiKey.scope).where(ApiKey.id == job.api_key_id))
        return KeyScope.ADMIN if beginner == KeyScope.ADMIN else rule.scope
    return rule.scope


def check_action(session: Session, job_id: UUID, action: JobAction) -> Job:
    """The job, which takes this action. Raises NotFound, and ActionRefused for a type that does not."""
    job = jobs.get_job(session, job_id)
    if why := RULES[JobType(job.type)].refused.get(action):
        raise ActionRefused(f"Job {job_id} {why}.")
    return job
