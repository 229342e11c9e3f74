"""The Celery application. Messages are wake-ups: small, JSON, harmless when lost, doubled or late."""

from celery import Celery, signals
from kombu import entity
from kombu.transport.redis import Channel

from umbel.base.settings import settings
from umbel.base.types import Queue
from umbel.jobs.wakeup import TASK, TRANSPORT

# Tasks are imported by the worker that runs them: the scheduler sends them by name, and needs no model for that.
celery = Celery("umbel", broker=settings().broker)


@signals.setup_logging.connect
def _leave_logging_alone(**_: object) -> None:
    """With a receiver for this signal, Celery does not set the root logger to a level of its own."""


# A wake-up that is being handled when the connection is lost is done; restoring it fails and writes a file to /tmp.
Channel.do_restore = False

celery.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,  # what became of a job is in Postgres
    task_acks_late=False,  # a wake-up is done once received: the work it is for is in the ledger
    task_queues=[entity.Queue(queue) for queue in Queue],
    task_default_queue=Queue.MAINTENANCE,
    broker_transport_options=TRANSPORT,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # take a wake-up when a thread is free; another worker may have one
    worker_enable_prefetch_count_reduction=False,  # and not fewer at a time after each loss of Redis
    worker_enable_remote_control=False,  # unused, and it costs Redis a queue a worker
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # In memory: the file that the default scheduler keeps does not survive kill -9, and there is nothing in it to keep.
    beat_scheduler="celery.beat:Scheduler",
    beat_schedule={
        "sweep": {
            "task": TASK,
            "kwargs": {"queue": Queue.MAINTENANCE},
            "schedule": settings().sweep_seconds,
            # They must not pile up for ever while no worker runs. Far longer than the clocks of two hosts may differ:
            # a worker discards by its own clock what the scheduler dated by another.
            "options": {"queue": Queue.MAINTENANCE, "expires": 3600},
        }
    },
)
