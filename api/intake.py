"""The intake of this process: uploads of its requests, taken in together."""

from functools import cache

from core.blobs import blobs
from core.settings import settings
from db.session import transaction
from services.intake import Intake


@cache
def intake() -> Intake:
    return Intake(transaction, blobs(), settings())
