"""The intake of this process: uploads of its requests, taken in together."""

from functools import cache

from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.gallery.intake import Intake


@cache
def intake() -> Intake:
    return Intake(transaction, blobs(), settings())
