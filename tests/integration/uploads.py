"""Uploading: over HTTP, or as an API process does that takes one upload at a time."""

import io
from functools import partial

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.decoding.images import inspect
from umbel.gallery.upload import Accepted, Upload, Uploader


def add_image(transaction: Transaction, blobs: Blobs, limits: Settings, upload: Upload) -> Accepted:
    return Uploader(transaction, blobs, partial(inspect, limits=limits)).add_image(upload)


def post_image(api: FlaskClient, data: bytes, *, headers: dict[str, str] | None = None, **form: object) -> TestResponse:
    return api.post("/v1/images", data={"file": (io.BytesIO(data), "a.jpg"), **form}, headers=headers)
