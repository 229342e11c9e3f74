"""`umbel api`, `umbel worker` and `umbel scheduler`: the processes that `umbel up` starts and containers run singly."""

import socket
import sys

import click

from cli.config import settings


@click.command()
def api() -> None:
    """Serve the HTTP API until told to stop.

    \b
    umbel api
    """
    from umbel.base.settings import share_metrics

    config = settings()
    config.refuse_to_be_open()
    share_metrics(config)  # before any module with metrics is imported
    from api.processes import serve

    serve(config)


@click.command()
@click.option(
    "--queues",
    metavar="QUEUE,…",
    help="Queues to serve, the more urgent first, such as query,single.  [default: all]",
)
@click.option("--name", default=None, help="Name in the ledger, unique and lasting. [default: embed@HOST]")
@click.option("--probe", is_flag=True, help="Start nothing; exit 0 if the worker of this name is alive.")
def worker(queues: str | None, name: str | None, probe: bool) -> None:
    """Embed pictures with the active model until told to stop.

    The model is loaded once. A second worker on one machine needs a --name of its own.

    \b
    umbel worker
    umbel worker --name second --queues bulk,fetch
    """
    name = name or f"embed@{socket.gethostname()}"
    if probe:
        sys.exit(0 if _is_alive(name) else 1)
    from umbel.base.malloc import share_arenas

    share_arenas()
    from ml.preprocess import Preprocessing
    from umbel.base.database import limit_connections
    from umbel.base.tracing import configure_tracing
    from umbel.base.types import Queue
    from worker.decoders import WorkerDecoders
    from worker.exporter import serve_metrics
    from worker.models import HeldModels, ensure_active_version
    from worker.process import serve, withdraw

    try:
        served = [Queue(queue.strip()) for queue in queues.split(",")] if queues else list(Queue)
    except ValueError as error:
        raise click.BadParameter(f"{error}; there are: {', '.join(Queue)}", param_hint="--queues") from error
    configure_tracing(settings(), "worker")
    limit_connections(
        statement_seconds=settings().worker_statement_seconds, idle_seconds=settings().idle_transaction_seconds
    )
    withdraw(name)
    version = ensure_active_version(settings())
    decoder = WorkerDecoders(Preprocessing.of_card(version.card["preprocessing"]), settings())
    try:
        models = HeldModels(settings(), decoder.fitted)
        [active] = models.load([version.id])
        serve_metrics(settings(), active.embedder.device)
        status = serve(settings(), models, decoder, name=name, queues=served, device=active.embedder.description)
    finally:
        decoder.close()
    sys.exit(status)


def _is_alive(name: str) -> bool:
    """Whether the database answers and the worker sent a heartbeat within the last three intervals."""
    from umbel.base.database import transaction
    from umbel.jobs import workers  # none of the other processes waits for the database's library

    with transaction() as session:
        return any(one.name == name for one in workers.list_workers(session, seen_within_seconds=16))


@click.command()
def scheduler() -> None:
    """Wake the workers for work left behind, every few seconds, until told to stop.

    \b
    umbel scheduler
    """
    from celery.apps.beat import Beat

    from worker.app import celery

    Beat(app=celery, scheduler_cls="celery.beat:Scheduler", quiet=True, pidfile=None).run()
