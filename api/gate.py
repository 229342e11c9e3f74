"""The gate of this process: how full the queue may be before more is refused."""

from functools import cache

from core.settings import settings
from db.session import transaction
from services.backpressure import Gate


@cache
def gate() -> Gate:
    return Gate(transaction, settings())
