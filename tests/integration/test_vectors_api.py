"""Vectors out of the gallery and into it, over HTTP."""

import io
import json
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet
import pytest
from flask.testing import FlaskClient

from tests.integration.factory import Factory, committed, unit
from umbel.vectors import export

pytestmark = pytest.mark.usefixtures("database", "redis")


def gallery(make: Factory) -> list[UUID]:
    """Seven images of the collection garden under one version, one of another collection, and one without a vector."""
    version = make.version()
    ids = [
        make.image(
            vector=unit(n),
            version=version,
            collection="garden",
            name=f"{n}% é.jpg",
            label=["50% rose", "tulip", None][n % 3],
            meta={"n": n, "said": 'a "quote"\n'},
        )
        for n in range(7)
    ]
    make.image(vector=unit(9), version=version, collection="other")
    make.image(collection="garden")
    return ids


def parquet_rows(data: bytes) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 3)


def test_a_collection_is_exported_as_parquet(api: FlaskClient) -> None:
    ids = committed(gallery)
    answer = api.get("/v1/export?collection=garden")
    assert (answer.status_code, answer.content_type) == (200, "application/vnd.apache.parquet")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="garden.parquet"'
    rows = parquet_rows(answer.data)
    assert [row["image_id"] for row in rows] == [str(one) for one in ids]
    assert np.array_equal([row["vector"] for row in rows], [unit(n) for n in range(7)])
    assert (rows[1]["name"], rows[1]["label"], rows[2]["label"]) == ("1% é.jpg", "tulip", None)
    assert json.loads(rows[3]["metadata"]) == {"n": 3, "said": 'a "quote"\n'}
    facts = json.loads(pyarrow.parquet.read_schema(io.BytesIO(answer.data)).metadata[b"umbel"])
    assert (facts["dim"], facts["metric"]) == (8, "cosine")
    assert len(parquet_rows(api.get("/v1/export").data)) == 8


def test_a_collection_is_exported_as_npz(api: FlaskClient) -> None:
    ids = committed(gallery)
    answer = api.get("/v1/export?format=npz&collection=garden")
    assert (answer.status_code, answer.content_type) == (200, "application/zip")
    with np.load(io.BytesIO(answer.data)) as file:
        assert file["ids"].tolist() == [str(one) for one in ids]
        assert np.array_equal(file["vectors"], [unit(n) for n in range(7)])
        assert file["labels"].tolist()[:3] == ["50% rose", "tulip", ""]
        lines = [json.loads(line) for line in file["images.jsonl"].splitlines()]
    assert [line["metadata"]["n"] for line in lines] == list(range(7))
    assert (lines[1]["name"], lines[2]["label"]) == ("1% é.jpg", None)


def test_an_export_takes_a_filter_and_a_model_version(api: FlaskClient) -> None:
    committed(gallery)
    asked = {"filter": json.dumps({"label": ["50% rose"], "metadata": {"n": {"$gt": 0}}})}
    assert [json.loads(row["metadata"])["n"] for row in parquet_rows(api.get("/v1/export", query_string=asked).data)] == [3, 6]

    def other(make: Factory) -> str:
        version = make.version(active=False, dim=4)
        make.image(vector=unit(1, 4), version=version, collection="other")
        return str(version.id)

    from umbel.base.database import transaction

    with transaction() as session:
        version_id = other(Factory(session, start=100))
    [row] = parquet_rows(api.get(f"/v1/export?model_version={version_id}").data)
    assert np.array_equal(row["vector"], unit(1, 4))


def test_an_empty_export_is_a_file_without_rows(api: FlaskClient) -> None:
    committed(lambda make: (make.version(), make.collection("bare")))
    assert parquet_rows(api.get("/v1/export?collection=bare").data) == []
    with np.load(io.BytesIO(api.get("/v1/export?collection=bare&format=npz").data)) as file:
        assert (file["ids"].shape, file["vectors"].shape) == ((0,), (0, 8))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("collection=none", 404, "not_found"),
        ("format=csv", 422, "invalid_input"),
        ("filter=x", 422, "invalid_input"),
        ("model_version=019b2f6e-0000-7000-8000-000000000000", 404, "not_found"),
    ],
)
def test_an_export_that_makes_no_sense_is_refused(api: FlaskClient, query: str, status: int, code: str) -> None:
    committed(gallery)
    answer = api.get(f"/v1/export?{query}")
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_without_pyarrow_parquet_is_not_there_and_npz_is(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(gallery)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    answer = api.get("/v1/export")
    assert (answer.status_code, answer.get_json()["code"]) == (501, "not_installed")
    assert "umbel[parquet]" in answer.get_json()["detail"]
    assert api.get("/v1/export?format=npz").status_code == 200
