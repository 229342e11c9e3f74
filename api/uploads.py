"""Bodies of uploads: a file, or the URL of one, which is fetched here.

A slow server holds one of a few places (`rooms.fetches`), for UMBEL_URL_SECONDS at most; other requests find threads.
"""

from dataclasses import replace
from functools import cache
from typing import Annotated
from uuid import UUID

from flask import request
from pydantic import ConfigDict, Field
from umbel_files.names import printable

from api import rooms
from api.access import into
from api.decoding import looked_at
from api.errors import validated
from api.fields import ExternalId, File, IntoCollection, Label, Metadata, Name, Strict
from api.idempotency import idempotency_key
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.storable import StorableText
from umbel.gallery.upload import Accepted, Upload, Uploader, find_accepted
from umbel.imports.sources.web import Web, shown_url

LONGEST_URL = 4_096


class UploadOptions(Strict):
    collection: IntoCollection = None
    label: Label | None = None
    metadata: Metadata = Field(default_factory=dict)
    external_id: ExternalId | None = None
    name: Name | None = Field(None, description="Left out: the file name of the part, or the URL without its query.")
    job_id: UUID | None = Field(None, description="An open import job to which the picture belongs.")


class UploadIn(UploadOptions):
    file: File


class UploadUrlIn(UploadOptions):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"url": "https://pictures.example/tulips/1.jpg", "label": "tulip"}]}
    )

    url: Annotated[
        StorableText,
        Field(
            max_length=LONGEST_URL,
            description="An http or https URL, which the service fetches, without redirects: see `UMBEL_IMPORT_URLS`.",
        ),
    ]


def sent_upload() -> Upload:
    """The upload that the present request asks for; one by URL is still without its bytes. Raises HTTPError: 422."""
    if request.is_json:
        body = validated(UploadUrlIn.model_validate, request.get_json())
        return _upload(body, data=b"", name=printable(shown_url(body.url)), url=body.url)
    file = request.files.get("file")  # without a filename it is none
    form = validated(
        UploadIn.model_validate, {**request.form.to_dict(), "file": file if file and file.filename else None}
    )
    return _upload(form, data=form.file.read(), name=printable(form.file.filename or "") or None)


def _upload(options: UploadOptions, *, data: bytes, name: str | None, url: str | None = None) -> Upload:
    return Upload(
        data=data,
        collection=into(options.collection),
        name=options.name or name,
        label=options.label,
        metadata=options.metadata,
        external_id=options.external_id,
        job_id=options.job_id,
        url=url,
        idempotency_key=idempotency_key(),
    )


def accept(upload: Upload) -> Accepted:
    """Take an upload in, fetched first if it came as a URL, unless its Idempotency-Key has been answered before.

    Raises as `Uploader.add_image` does, AddressRefused, FileTooLarge, Unreadable, Unreachable and Busy.
    """
    if upload.url is not None:
        with transaction() as session:
            if first := find_accepted(session, upload):
                return first
        with rooms.fetches().place():
            upload = replace(upload, data=Web(settings()).fetch(upload.url))
    return uploader().add_image(upload)


@cache
def uploader() -> Uploader:
    """The one of this process."""
    return Uploader(transaction, blobs(), looked_at)
