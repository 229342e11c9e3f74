"""Uploading, as a process of the API does that nobody else calls."""

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.gallery.upload import Accepted, Upload, Uploader


def add_image(transaction: Transaction, blobs: Blobs, limits: Settings, upload: Upload) -> Accepted:
    return Uploader(transaction, blobs, limits).add_image(upload)
