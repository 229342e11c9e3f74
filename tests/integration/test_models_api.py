"""/v1/models and /v1/admin/reindex at the HTTP edge, with no worker: what is begun stays where it is."""

import hashlib
import io
import json
import struct
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from api.upload_limits import FORM_OVERHEAD
from tests.integration.callers import UNUSED_ID
from tests.integration.factory import DIM, Factory, unit
from tests.integration.test_api import assert_problem
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.fingerprint import fingerprint
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion, Reindex
from umbel.base.types import IndexKind
from umbel.models.checkpoints import blob_keys, split_key
from umbel.models.lifecycle import drop_retired
from umbel.models.partitions import Hnsw

pytestmark = pytest.mark.usefixtures("database", "redis")

NECK = "neck.linear.weight"
PREPROCESSING = {"size": 96}
SPLIT = {"version": 1, "pictures": [{"sha256": "ab" * 32, "gallery_sha256": "cd" * 32, "role": "train"}]}


@pytest.fixture
def active(api: FlaskClient) -> ModelVersion:
    with transaction() as session:
        return Factory(session).version()


def weights(shape: list[int] | None = None, seed: int = 0) -> bytes:
    """A safetensors file with one tensor."""
    shape = [DIM, 4] if shape is None else shape
    header = json.dumps({NECK: {"dtype": "F16", "shape": shape, "data_offsets": [0, 1]}, "__metadata__": {}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([seed])


def card(data: bytes, **changes: Any) -> bytes:
    """The card of these weights."""
    content = {
        "name": "mine",
        "architecture": "tf_efficientnetv2_b0",
        "dim": DIM,
        "preprocessing": PREPROCESSING,
        "preprocessing_hash": fingerprint(PREPROCESSING),
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "metrics": {"validation": {"garden": {"r_at_1": 0.9, "map_at_r": 0.8}}},
    }
    return json.dumps(content | changes).encode()


def register(api: FlaskClient, data: bytes, about: bytes | None = None, split: object = None) -> TestResponse:
    files = {"weights": data, "card": about or card(data)} | ({} if split is None else {"split": json.dumps(split)})
    return api.post(
        "/v1/models",
        data={
            field: (io.BytesIO(file if isinstance(file, bytes) else file.encode()), field)
            for field, file in files.items()
        },
    )


def registered(api: FlaskClient, seed: int = 0) -> str:
    answer = register(api, weights(seed=seed))
    assert answer.status_code == 201
    return str(answer.get_json()["id"])


def gallery(active: ModelVersion, images: int) -> None:
    """Pictures that the active version has vectors of, and no other."""
    with transaction() as session:
        make = Factory(session, start=50)
        for number in range(images):
            make.image(label="rose", vector=unit(number), version=active)


def test_a_checkpoint_is_registered_with_its_files(api: FlaskClient, active: ModelVersion) -> None:
    data = weights()
    answer = register(api, data, split=SPLIT)
    model = answer.get_json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/models/{model['id']}")
    assert (model["name"], model["state"], model["dim"]) == ("mine", "registered", DIM)
    assert model["metrics"]["validation"]["garden"]["r_at_1"] == 0.9
    kept = [blobs().get(key) for key in (*blob_keys(model["weights_sha256"]), split_key(model["weights_sha256"]))]
    assert kept == [data, card(data), json.dumps(SPLIT).encode()]
    assert api.get(answer.headers["Location"]).get_json()["card"]["name"] == "mine"
    listed = api.get("/v1/models").get_json()["items"]
    assert [(one["name"], one["state"]) for one in listed] == [("mine", "registered"), (active.name, "active")]


def test_a_model_in_int8_says_so(api: FlaskClient, active: ModelVersion) -> None:
    register(api, GOOD, card(GOOD, quantization={"pictures": 320}))

    listed = api.get("/v1/models").get_json()["items"]
    assert {one["name"]: one["arithmetic"] for one in listed} == {"mine": "int8", active.name: "float"}


def test_the_same_weights_again_are_the_same_version(api: FlaskClient, active: ModelVersion) -> None:
    assert registered(api) == registered(api)
    assert len(api.get("/v1/models").get_json()["items"]) == 2


GOOD = weights()


@pytest.mark.parametrize(
    ("data", "about", "because"),
    [
        pytest.param(GOOD + b"!", card(GOOD), "SHA-256 differs", id="tampered weights"),
        pytest.param(GOOD, card(GOOD, preprocessing={"size": 97}), "preprocessing does not match", id="tampered card"),
        pytest.param(GOOD, card(GOOD, dim=DIM * 2), "vectors of 8 numbers; the card says 16", id="wrong dim"),
        pytest.param(weights([]), card(weights([])), "vectors of 0 numbers", id="a neck without a width"),
        pytest.param(b"pickle", card(b"pickle"), "not a safetensors file", id="not safetensors"),
        pytest.param(b"\xff" * 64, card(b"\xff" * 64), "not a safetensors file", id="a header without an end"),
        pytest.param(GOOD, b"{", "card cannot be read", id="not a card"),
        pytest.param(GOOD, b"[]", "card cannot be read", id="a list for a card"),
        pytest.param(GOOD, card(GOOD, dim=5_000), "dim", id="too wide for an index"),
        pytest.param(GOOD, card(GOOD, note=float("nan")), "card cannot be read", id="NaN"),
        pytest.param(GOOD, card(GOOD, note="\x00"), "NUL", id="NUL"),
        pytest.param(GOOD, card(GOOD, note="\ud800"), "card cannot be read", id="half a surrogate pair"),
    ],
)
def test_what_does_not_fit_together_is_refused(api: FlaskClient, data: bytes, about: bytes, because: str) -> None:
    answer = register(api, data, about)
    assert_problem(answer, 422, "bad_checkpoint")
    assert because in answer.get_json()["detail"]
    assert api.get("/v1/models").get_json()["items"] == []


@pytest.mark.parametrize("split", [[], {"pictures": [{"sha256": "xyz", "role": "train"}]}, {"pictures": [{}]}])
def test_a_split_that_is_none_is_refused(api: FlaskClient, split: object) -> None:
    assert_problem(register(api, weights(), split=split), 422, "bad_checkpoint")


def test_a_form_without_a_card_is_refused(api: FlaskClient) -> None:
    answer = api.post("/v1/models", data={"weights": (io.BytesIO(b"x"), "w")})
    assert_problem(answer, 422, "invalid_input")
    assert "card" in answer.get_json()["errors"]["body"]


def test_a_checkpoint_that_is_too_large_is_refused(api: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    small = settings().model_copy(update={"max_checkpoint_bytes": 100 - FORM_OVERHEAD})
    monkeypatch.setattr("api.upload_limits.settings", lambda: small)
    assert_problem(register(api, weights()), 413, "content_too_large")


@pytest.mark.parametrize("path", ["", "/activate", "/rollback", "/retire"])
def test_a_model_that_is_nobodys(api: FlaskClient, path: str) -> None:
    answer = api.open(f"/v1/models/{UNUSED_ID}{path}", method="POST" if path else "GET")
    assert_problem(answer, 404, "not_found")


def test_a_model_that_lacks_pictures_is_not_activated(api: FlaskClient, active: ModelVersion) -> None:
    gallery(active, 3)
    answer = api.post(f"/v1/models/{registered(api)}/activate")
    assert_problem(answer, 409, "conflict")
    assert "lacks 3 pictures" in answer.get_json()["detail"]


def test_activate_and_roll_back(api: FlaskClient, active: ModelVersion) -> None:
    model = registered(api)  # an empty gallery lacks nothing
    assert api.post(f"/v1/models/{model}/activate").get_json()["state"] == "active"
    again = api.post(f"/v1/models/{model}/activate").get_json()
    assert (again["state"], again["replaced"]) == ("active", str(active.id))
    back = api.post(f"/v1/models/{model}/rollback")
    assert (back.status_code, back.get_json()["id"], back.get_json()["state"]) == (200, str(active.id), "active")
    assert_problem(api.post(f"/v1/models/{model}/rollback"), 409, "conflict")
    assert_problem(api.post(f"/v1/models/{active.id}/rollback"), 409, "conflict")


def test_retire(api: FlaskClient, active: ModelVersion) -> None:
    model = registered(api)
    assert_problem(api.post(f"/v1/models/{active.id}/retire"), 409, "conflict")
    for _ in range(2):
        assert api.post(f"/v1/models/{model}/retire").get_json()["state"] == "retired"
    assert_problem(api.post(f"/v1/models/{model}/activate"), 409, "conflict")
    assert_problem(api.post("/v1/admin/reindex", json={"model_version": model}), 409, "conflict")
    assert register(api, weights()).status_code == 409  # until the sweep has removed its vectors
    drop_retired(transaction, seconds=0)
    assert registered(api) == model
    assert api.get(f"/v1/models/{model}").get_json()["state"] == "registered"


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "everything"},
        {"max_drop": -0.1},
        {"max_drop": 1.1},
        {"model_version": "mine"},
        {"m": 16},
        {"kind": "bits"},
        {"mode": "index", "kind": "floats"},
        {"mode": "index", "activate": True},
        {"mode": "index", "m": 1},
        {"mode": "index", "ef_construction": 2_000},
        {"mode": "index", "m": 50, "ef_construction": 60},
        {"modell": "misspelt"},
    ],
)
def test_a_reindex_that_cannot_be_asked_for(api: FlaskClient, active: ModelVersion, body: dict[str, object]) -> None:
    assert_problem(api.post("/v1/admin/reindex", json=body), 422, "invalid_input")


def test_what_is_not_asked_of_a_new_index_is_as_it_was(api: FlaskClient, active: ModelVersion) -> None:
    assert api.get(f"/v1/models/{active.id}").get_json()["index"]["kind"] == "halfvec"
    assert api.post("/v1/admin/reindex", json={"mode": "index", "kind": "bits"}).status_code == 202
    with transaction() as session:
        assert Hnsw.of(session.scalars(select(Reindex)).one()) == Hnsw(24, 128, IndexKind.BITS)


def test_a_reindex_of_nothing(api: FlaskClient) -> None:
    assert_problem(api.post("/v1/admin/reindex", json={}), 503, "not_ready")


def test_one_reindex_at_a_time_is_paused_resumed_and_cancelled(api: FlaskClient, active: ModelVersion) -> None:
    assert_problem(api.post("/v1/admin/reindex", json={"model_version": str(active.id)}), 409, "conflict")
    assert_problem(api.post("/v1/admin/reindex", json={"model_version": UNUSED_ID}), 404, "not_found")
    model = registered(api)
    answer = api.post("/v1/admin/reindex", json={"model_version": model, "activate": True, "max_drop": 0.02})
    job_id = answer.get_json()["job_id"]
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v1/jobs/{job_id}")
    job = api.get(answer.headers["Location"]).get_json()
    assert (job["type"], job["phase"], job["model_version"]) == ("reindex", "listing", model)
    expected = {"mode": "embeddings", "phase": "listing", "activate": True, "max_drop": 0.02}
    assert {key: job["reindex"][key] for key in expected} == expected
    rejected = api.post("/v1/admin/reindex", json={"mode": "index"})
    assert_problem(rejected, 409, "conflict")
    assert job_id in rejected.get_json()["detail"]
    assert api.post(f"/v1/jobs/{job_id}/pause").get_json()["phase"] == "paused"
    assert api.post(f"/v1/jobs/{job_id}/resume").get_json()["phase"] == "listing"
    assert api.post(f"/v1/jobs/{job_id}/cancel").get_json()["status"] == "cancelled"
    assert [one["id"] for one in api.get("/v1/jobs?type=reindex").get_json()["items"]] == [job_id]
    assert api.post("/v1/admin/reindex", json={"mode": "index"}).status_code == 202


def test_without_a_version_everything_is_embedded_anew_with_the_active_one(
    api: FlaskClient, active: ModelVersion
) -> None:
    job = api.get(api.post("/v1/admin/reindex", json={}).headers["Location"]).get_json()
    assert job["reindex"]["activate"] is True
    version = api.get(f"/v1/models/{job['model_version']}").get_json()
    assert (version["name"], version["generation"]) == (f"{active.name}@2", 2)
    assert version["weights_sha256"] == active.weights_sha256


def test_the_specification_has_the_models(api: FlaskClient) -> None:
    spec = api.get("/openapi.json").get_json()
    paths = spec["paths"]
    assert {"get", "post"} <= set(paths["/v1/models"])
    form = paths["/v1/models"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"]
    assert {"weights", "card", "split"} == set(spec["components"]["schemas"][form.rpartition("/")[2]]["properties"])
    for verb in ("activate", "rollback", "retire"):
        assert {"200", "404", "409"} <= set(paths[f"/v1/models/{{version_id}}/{verb}"]["post"]["responses"])
    assert {"202", "409"} <= set(paths["/v1/admin/reindex"]["post"]["responses"])


def test_known_weights_with_another_preprocessing_are_refused(api: FlaskClient, active: ModelVersion) -> None:
    registered(api)
    other = PREPROCESSING | {"size": 64}
    about = card(weights(), preprocessing=other, preprocessing_hash=fingerprint(other))
    assert_problem(register(api, weights(), about), 409, "conflict")
