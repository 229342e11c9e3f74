"""Vectors out of the gallery and into it, over HTTP."""

import io
import json
import sys
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.integration.factory import Factory, committed, unit
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.models.indexing import build_index
from umbel.vectors import rows
from umbel.vectors.importing import import_vectors, open_vectors

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
    monkeypatch.setattr(rows, "BATCH", 3)


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
    found = parquet_rows(api.get("/v1/export", query_string=asked).data)
    assert [json.loads(row["metadata"])["n"] for row in found] == [3, 6]
    with transaction() as session:
        make = Factory(session, start=100)
        version = make.version(active=False, dim=4)
        make.image(vector=unit(1, 4), version=version, collection="other")
    [row] = parquet_rows(api.get(f"/v1/export?model_version={version.id}").data)
    assert np.array_equal(row["vector"], unit(1, 4))


def test_what_is_not_read_keeps_no_other_export_waiting(api: FlaskClient) -> None:
    committed(gallery)
    for _ in range(settings().api_threads):
        assert api.head("/v1/export").status_code == 200
        api.get("/v1/export").close()
    assert api.get("/v1/export").status_code == 200


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
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    answer = api.get("/v1/export")
    assert (answer.status_code, answer.get_json()["code"]) == (501, "not_installed")
    assert "umbel[parquet]" in answer.get_json()["detail"]
    assert api.get("/v1/export?format=npz").status_code == 200


def external(api: FlaskClient, dim: int = 8) -> str:
    answer = api.post("/v1/models", json={"name": "clip", "dim": dim, "card": {"url": "https://example.org"}})
    assert answer.status_code == 201, answer.get_json()
    return str(answer.get_json()["id"])


def bring(api: FlaskClient, version_id: str, data: bytes, **form: str) -> TestResponse:
    sent = {"collection": "garden", **form, "file": (io.BytesIO(data), "vectors")}
    return api.post(f"/v1/models/{version_id}/vectors", data=sent, content_type="multipart/form-data")


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_what_was_exported_comes_in_again(api: FlaskClient, kind: str) -> None:
    committed(gallery)
    version_id = external(api)
    data = api.get(f"/v1/export?collection=garden&format={kind}").data
    job = bring(api, version_id, data).get_json()
    assert (job["status"], job["type"], job["model_version"]) == ("succeeded", "import", version_id)
    assert (job["counts"]["indexed"], job["counts"]["total"]) == (7, 7)
    before = parquet_rows(api.get("/v1/export?collection=garden").data)
    after = parquet_rows(api.get(f"/v1/export?collection=garden&model_version={version_id}").data)
    assert after == before


def test_an_external_model_is_searched_compared_and_never_active(api: FlaskClient) -> None:
    ids = [str(one) for one in committed(gallery)]
    version_id = external(api, dim=4)
    bring(api, version_id, npz(ids=ids, vectors=np.array([3 * unit(50 + n, 4) for n in range(7)], np.float64)))
    asked = {"model_version": version_id, "k": 1, "with": ["vector"]}
    found = api.post("/v1/search", json={"vector": unit(52, 4).tolist(), **asked}).get_json()
    assert (found["matches"][0]["image_id"], found["model_version"]) == (ids[2], version_id)
    assert found["matches"][0]["vector"] == pytest.approx(unit(52, 4), abs=1e-3)
    expected = np.argsort([-unit(52, 4) @ unit(50 + n, 4) for n in range(7)])[1]
    for answer in (
        api.post("/v1/search", json={"image_id": ids[2], **asked}),
        api.post("/v1/search", json={"positive": [ids[2]], **asked}),
        api.get(f"/v1/images/{ids[2]}/similar?k=1&model_version={version_id}"),
    ):
        assert answer.get_json()["matches"][0]["image_id"] == ids[expected]
    other = api.get("/v1/images?collection=other").get_json()["items"][0]["image_id"]
    assert api.post("/v1/search", json={"image_id": other, **asked}).status_code == 404

    assert api.post("/v1/duplicates", json={"model_version": version_id}).get_json()["images"] == 7
    assert api.get(f"/v1/duplicates?model_version={version_id}").get_json()["waiting"] == 7
    assert api.post("/v1/map", json={"model_version": version_id}).status_code == 202
    assert api.get(f"/v1/map?model_version={version_id}").get_json()["new"] == 7
    for refused in (
        api.post(f"/v1/models/{version_id}/activate"),
        api.post("/v1/admin/reindex", json={"model_version": version_id}),
    ):
        assert refused.status_code == 409
    model = api.get(f"/v1/models/{version_id}").get_json()
    assert (model["architecture"], model["index"]["valid"]) == ("external", True)
    assert model["card"] == {"name": "clip", "dim": 4, "metric": "cosine", "url": "https://example.org"}
    assert external(api, dim=4) == version_id
    assert api.post("/v1/models", json={"name": "clip", "dim": 5}).status_code == 409


def test_each_row_is_told_of_and_labels_and_metadata_come_along(api: FlaskClient) -> None:
    ids = [str(one) for one in committed(gallery)]
    version_id = external(api)
    elsewhere = api.get("/v1/images?collection=other").get_json()["items"][0]["image_id"]
    given: list[tuple[str, str | None, str | None, Any]] = [
        (ids[0], "peony", '{"n": null, "new": 1}', unit(1)),
        (ids[1], None, None, unit(2)),
        (ids[1], "tulip", None, unit(3)),  # again: the last counts
        (ids[2], "x" * 201, None, unit(4)),
        (ids[3], None, "[]", unit(5)),
        (ids[4], None, None, np.zeros(8, np.float32)),
        (ids[5], None, None, np.full(8, np.nan, np.float32)),
        (elsewhere, None, None, unit(6)),
        ("no id", None, None, unit(7)),
    ]
    image_id, label, metadata, vector = (list(column) for column in zip(*given, strict=True))
    data = parquet(image_id=image_id, label=label, metadata=metadata, vector=vector)
    job = bring(api, version_id, data).get_json()
    assert (job["status"], job["counts"]["indexed"], job["counts"]["duplicate"]) == ("partial", 2, 1)
    failed = api.get(f"/v1/jobs/{job['id']}/items?status=failed").get_json()["items"]
    assert sorted(one["error_code"] for one in failed) == ["invalid_input"] * 4 + ["not_found"] * 2
    image = api.get(f"/v1/images/{ids[0]}").get_json()
    assert (image["label"], image["metadata"]) == ("peony", {"said": 'a "quote"\n', "new": 1})
    stored = parquet_rows(api.get(f"/v1/export?model_version={version_id}").data)
    assert [row["image_id"] for row in stored] == ids[:2]
    assert np.array_equal([row["vector"] for row in stored], [unit(1), unit(3)])

    by_hash = parquet(sha256=[image["sha256"]], label=["oak"], vector=[unit(9)])
    assert bring(api, version_id, by_hash, only_vectors="true").get_json()["counts"]["indexed"] == 1
    assert api.get(f"/v1/images/{ids[0]}").get_json()["label"] == "peony"
    found = api.post("/v1/search", json={"vector": unit(9).tolist(), "model_version": version_id, "k": 1}).get_json()
    assert found["matches"][0]["image_id"] == ids[0]


def test_text_that_cannot_be_kept_is_told_of(api: FlaskClient) -> None:
    ids = [str(one) for one in committed(gallery)]
    rows = npz(ids=[*ids[:2], "a\0b", "\ud800"], labels=["\ud800", "a\0b", "", ""], vectors=np.ones((4, 8), np.float32))
    job = bring(api, external(api), rows).get_json()
    assert (job["status"], job["counts"]["failed"]) == ("failed", 4)
    failed = api.get(f"/v1/jobs/{job['id']}/items").get_json()["items"]
    assert [one["error"] for one in failed[:2]] == [
        "The label must be valid Unicode.",
        "The label must not contain a NUL character.",
    ]


def test_the_index_of_a_large_file_is_built_after_it(api: FlaskClient) -> None:
    ids = [str(one) for one in committed(gallery)]
    version_id = UUID(external(api))
    soon = settings().model_copy(update={"defer_index_above": 7})
    file = open_vectors(io.BytesIO(npz(ids=ids, vectors=np.stack([unit(n) for n in range(7)]))))
    job_id = import_vectors(transaction, soon, file, version_id=version_id, collection="garden")
    job = api.get(f"/v1/jobs/{job_id}").get_json()
    assert (job["status"], job["phase"]) == ("running", "indexing")
    assert build_index(transaction, settings())
    assert api.get(f"/v1/jobs/{job_id}").get_json()["status"] == "succeeded"
    assert api.get(f"/v1/models/{version_id}").get_json()["index"]["valid"]


IDS = ["019b2f6e-0000-7000-8000-000000000000"] * 2
ROWS = np.ones((2, 8), np.float32)
CANNOT_BE_TAKEN = [
    b"",
    b"neither",
    b"PAR1 and no more",
    b"PK and no more",
    npz(ids=IDS),
    npz(ids=IDS[:1], vectors=ROWS),
    npz(ids=IDS, vectors=np.asfortranarray(ROWS)),
    npz(ids=IDS, vectors=ROWS.astype(int)),
    npz(ids=IDS, vectors=ROWS[0]),
    npz(ids=[1, 2], vectors=ROWS),
    npz(ids=np.array(IDS, object), vectors=ROWS),
    npz(ids=IDS, vectors=ROWS)[:-300],
    npz(ids=IDS, vectors=ROWS[:, :4]),
    parquet(image_id=IDS),
    parquet(vector=list(ROWS)),
    parquet(image_id=IDS, vector=["a", "b"]),
    parquet(image_id=[1, 2], vector=list(ROWS)),
    parquet(image_id=IDS, vector=[ROWS[0], ROWS[0][:7]]),
    parquet(image_id=IDS, vector=[ROWS[0], None]),
    parquet(image_id=IDS, vector=list(ROWS[:, :4])),
    parquet(image_id=IDS, vector=list(ROWS))[:-20],
]


def test_a_file_that_cannot_be_taken_is_refused(api: FlaskClient) -> None:
    committed(gallery)
    version_id = external(api)
    answers = [bring(api, version_id, data) for data in CANNOT_BE_TAKEN]
    assert [(one.status_code, one.get_json()["code"]) for one in answers] == [(422, "bad_vectors")] * len(answers)


def test_vectors_of_our_own_models_are_not_taken(api: FlaskClient) -> None:
    committed(gallery)
    own = api.get("/v1/models").get_json()["items"][0]["id"]
    assert bring(api, own, npz(ids=IDS, vectors=ROWS)).status_code == 409
    assert bring(api, external(api), npz(ids=IDS, vectors=ROWS), collection="none").status_code == 404
