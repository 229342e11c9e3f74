"""Imports sent to the API, and what became of them."""

import io
import zipfile
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.field import archives as field_archives
from umbel.base.database import transaction
from umbel.base.settings import settings


def zipped(**images: bytes) -> bytes:
    return field_archives.zipped(*images.items(), method=zipfile.ZIP_STORED)


def send(api: FlaskClient, data: bytes, name: str = "pictures.zip", **form: object) -> TestResponse:
    return api.post("/v1/imports", data={"file": (io.BytesIO(data), name), **form})


def imported(api: FlaskClient, data: bytes, name: str = "pictures.zip", **form: object) -> str:
    answer = send(api, data, name, **form)
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["job_id"])


def job(api: FlaskClient, job_id: str) -> dict[str, Any]:
    return dict(api.get(f"/v1/jobs/{job_id}").get_json())


def counts(api: FlaskClient, job_id: str) -> dict[str, int]:
    return {state: n for state, n in job(api, job_id)["counts"].items() if n and state != "total"}


def embed_all() -> None:
    """What the embedding line would do, without vectors."""
    with transaction() as session:
        session.execute(text("UPDATE job_item SET state = 'indexed', finished_at = now() WHERE state = 'pending'"))


def use(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Other settings for the routes of imports."""
    changed = settings().model_copy(update=values)
    monkeypatch.setattr("api.imports.settings", lambda: changed)


def expire_leases() -> int:
    """End those that are left. Returns how many."""
    ended = "UPDATE job_item SET lease_until = now() - interval '1 s' WHERE lease_until > now()"
    with transaction() as session:
        return session.execute(text(ended)).rowcount  # type: ignore[attr-defined]
