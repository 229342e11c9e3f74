"""The gate of this process: how full the queue may be before more is refused."""

from functools import cache

from services.backpressure import Gate
from umbel.base.database import transaction
from umbel.base.settings import settings


@cache
def gate() -> Gate:
    return Gate(transaction, settings())
