"""The figures for Prometheus, and the page that lists them: `python -m api.metrics > docs/metrics.md`."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from umbel.base import metrics
from umbel.base.database import transaction
from umbel.base.errors import NotReady
from umbel.operations.statistics import FIGURES, count

DATABASE_UP = ("umbel_database_up", "Whether the figures of the ledger could be read.")
ROW = "| `{}` | {} | {} | {} |\n"
HEAD = """# Metrics

Written by `python -m api.metrics`; do not edit.
[Monitor Umbel](how-to/monitor.md) says which to plot and to alert on.
`ledger` figures are read from Postgres at each scrape and are the same from every API; `api` figures are those of all
processes of one API; `worker` figures are served by each worker on UMBEL_METRICS_PORT, with those of its process
(`process_resident_memory_bytes`, `process_start_time_seconds` and the like).

| metric | labels | from | meaning |
|---|---|---|---|
"""


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


def described() -> str:
    """docs/metrics.md."""
    rows = [ROW.format(DATABASE_UP[0], "", "ledger", DATABASE_UP[1])]
    rows += [ROW.format(figure.name, f"`{figure.label}`", "ledger", figure.help) for figure in FIGURES]
    rows += [_row(metric, "api") for metric in metrics.BY_API]
    rows += [_row(metric, "worker") for metric in metrics.BY_WORKERS]
    return HEAD + "".join(rows)


def _row(metric: MetricWrapperBase, source: str) -> str:
    [family] = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return ROW.format(name, labels, source, f"{family.documentation} ({family.type})")


if __name__ == "__main__":
    print(described(), end="")
