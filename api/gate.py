"""The gate of this process: how full the queue may be before more is refused."""

from functools import cache

from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.jobs.backpressure import Gate


@cache
def gate() -> Gate:
    return Gate(transaction, settings())
