"""The figures for Prometheus."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from umbel.base import metrics
from umbel.base.database import transaction
from umbel.base.errors import NotReady
from umbel.operations.statistics import FIGURES, count

DATABASE_UP = ("umbel_database_up", "Whether the figures of the ledger could be read.")


def exposition() -> bytes:
    """The ledger's figures, if the database answers, and what this API has counted."""
    registry = CollectorRegistry()
    up = Gauge(*DATABASE_UP, registry=registry)
    try:
        with transaction() as session:
            counted = [(figure, count(session, figure)) for figure in FIGURES]
    except NotReady:
        return generate_latest(registry) + metrics.counted()
    up.set(1)
    for figure, values in counted:
        gauge = Gauge(figure.name, figure.help, [figure.label], registry=registry)
        for value, number in values.items():
            gauge.labels(value).set(number)
    return generate_latest(registry) + metrics.counted()
