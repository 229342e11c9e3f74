"""A job that is followed to its end, or as long as a person waits."""

from types import SimpleNamespace
from typing import Any

import pytest

from cli.follow import follow
from cli.output import progress
from tests.unit.cli.test_reindex import JOB, ended


def followed(*answers: Any) -> Any:
    """What following a job gives whose later states are these."""
    later = iter(answers)

    def get(job_id: object, *, wait: float) -> Any:
        if isinstance(answer := next(later), BaseException):
            raise answer
        return answer

    with progress(quiet=True) as bars:
        api: Any = SimpleNamespace(jobs=SimpleNamespace(get=get))
        return follow(api, ended(None, status="running", finished_at=None), bars)


def test_a_job_is_followed_to_its_end() -> None:
    end = ended(None)
    assert followed(ended(None, status="running", finished_at=None), end) is end


def test_a_reindex_that_waits_for_its_model_says_so() -> None:
    told = []

    def get(job_id: object, *, wait: float) -> Any:
        told.append(bars.tasks[0].fields["note"])
        return ended(None)

    waiting = {"total": 3, "pending": 3, "indexed": 0, "duplicate": 0, "failed": 0, "cancelled": 0}
    with progress(quiet=True) as bars:
        api: Any = SimpleNamespace(jobs=SimpleNamespace(get=get))
        follow(api, ended(None, status="running", phase="embedding", counts=waiting, finished_at=None), bars)
    assert told == ["a worker loads the model, which it times at first"]


def test_after_ctrl_c_the_job_goes_on_and_a_person_is_told_so() -> None:
    with pytest.raises(KeyboardInterrupt, match=f"the job goes on: umbel jobs show {JOB} --wait"):
        followed(KeyboardInterrupt())
