"""docs/metrics.md, made of what there is: `python -m api.metrics_page > docs/metrics.md`."""

from prometheus_client.metrics import MetricWrapperBase

from api.health import DATABASE_UP
from umbel.base import metrics
from umbel.operations.statistics import FIGURES

ROW = "| `{}` | {} | {} | {} |\n"
HEAD = """# Metrics

Written by `python -m api.metrics_page`; do not edit.
[Monitor Umbel](how-to/monitor.md) says which to plot and to alert on.
`ledger` figures are read from Postgres at each scrape and are the same from every API. `api` figures are those of all
processes of one API. `worker` figures are served by each worker on UMBEL_METRICS_PORT, with those of its process
(`process_resident_memory_bytes`, `process_start_time_seconds` and the like).

| metric | labels | from | meaning |
|---|---|---|---|
"""


def described() -> str:
    """docs/metrics.md."""
    rows = [ROW.format(DATABASE_UP[0], "", "ledger", DATABASE_UP[1])]
    rows += [ROW.format(figure.name, f"`{figure.label}`", "ledger", figure.help) for figure in FIGURES]
    rows += [_row(metric, "api") for metric in metrics.BY_API]
    rows += [_row(metric, "api, worker") for metric in metrics.BY_BOTH]
    rows += [_row(metric, "worker") for metric in metrics.BY_WORKERS]
    return HEAD + "".join(rows)


def _row(metric: MetricWrapperBase, source: str) -> str:
    [family] = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return ROW.format(name, labels, source, f"{family.documentation} ({family.type})")


if __name__ == "__main__":
    print(described(), end="")
