"""Collections that are calibrated on their own labels, and what identify makes of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from stack.postgres import Postgres
from stack.redis import Redis
from tests.integration.calibrated import KINDS, near, tools
from tests.integration.factory import Factory, committed
from tests.integration.test_server import Api
from umbel.base.blobs import blobs
from umbel.base.database import transaction
from umbel.base.settings import settings
from umbel.base.tables import ModelVersion
from umbel.models import lifecycle, versions
from umbel.models.calibration import Calibration
from umbel.operations.reconciliation.calibrations import check_calibrations
from umbel.operations.reconciliation.context import Context

pytestmark = pytest.mark.usefixtures("database", "redis")

CARD: dict[str, Any] = json.loads((Path(__file__).parents[2] / "ml" / "weights" / "umbel-b0.json").read_text())
PATH = "/v1/collections/tools/calibration"


def gallery(make: Factory, card: dict[str, Any] | None = None) -> tuple[ModelVersion, list[UUID], UUID]:
    """Tools, and one picture in another collection that is like none of them."""
    version = make.version(card=card)
    images = tools(make, version)
    return version, images, make.image(vector=near(7, 0), version=version, collection="strangers")


def identified(api: FlaskClient, image_id: UUID, collection: str | None = "tools") -> dict[str, Any]:
    body = {"image_ids": [str(image_id)], **({"collection": collection} if collection else {})}
    answer = api.post("/v1/identify", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def test_a_collection_is_calibrated_on_its_own_labels(api: FlaskClient) -> None:
    version, images, stranger = committed(gallery)
    assert api.get("/v1/collections/tools").get_json()["calibration"] is None
    assert api.get(PATH).status_code == 404
    made = api.post(PATH)
    assert made.status_code == 200, made.text
    body = made.get_json()
    assert (body["model_version"], body["images"], body["labels"]) == (str(version.id), len(images), len(KINDS))
    assert body["fitted"]["labels"] == sorted(KINDS)
    assert body["accuracy"] > 0.9
    assert api.get(PATH).get_json() == body
    told = api.get("/v1/collections/tools").get_json()["calibration"]
    assert told == {name: body[name] for name in told}
    known, unknown = identified(api, images[0]), identified(api, stranger)
    assert (known["best"], known["unknown"], known["threshold"]) == ("hammer", False, body["unknown_below"])
    assert (unknown["best"], unknown["unknown"]) == (None, True)
    assert known["calibration"] == {"source": "collection", "domain": None, "note": None}
    assert api.delete(PATH).status_code == api.delete(PATH).status_code == 204
    assert identified(api, images[0])["calibration"]["source"] == "none"


def test_a_threshold_is_used_only_for_kinds_it_was_fitted_on(api: FlaskClient) -> None:
    """Of a model for flowers: tools get no verdict, a label it knows does, and a model for all has one for all."""
    version, images, stranger = committed(lambda make: gallery(make, {**CARD, "domain": "flowers"}))
    found = identified(api, stranger)
    assert (found["unknown"], found["threshold"], found["calibration"]["source"]) == (None, None, "none")
    assert (found["best"], found["calibration"]["domain"]) == (found["results"][0]["label"], "flowers")
    assert "fitted on flowers" in found["calibration"]["note"]
    assert sum(one["score"] for one in found["results"]) == pytest.approx(1)
    with transaction() as session:
        session.execute(text("UPDATE image SET label = '12 Tulip' WHERE label = 'hammer'"))
    tulip = identified(api, images[0])
    assert (tulip["best"], tulip["unknown"], tulip["calibration"]["source"]) == ("12 Tulip", False, "model")
    assert "domain (flowers), not on this collection" in tulip["calibration"]["note"]
    with transaction() as session:
        versions.change_version(session, version.id, card={**CARD, "domain": "general"})
    assert identified(api, stranger)["unknown"] is True


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_calibration_belongs_to_one_version(api: FlaskClient, calibrated: bool) -> None:
    former, images, _ = committed(gallery)
    assert api.post(PATH).status_code == 200

    def another(make: Factory) -> ModelVersion:
        version = make.version(card=CARD if calibrated else None)
        session = make.session
        session.execute(
            text("""
                INSERT INTO embedding (image_id, collection_id, model_version_id, vector)
                SELECT image_id, collection_id, :new, vector FROM embedding WHERE model_version_id = :former
            """),
            {"new": version.id, "former": former.id},
        )
        return version

    with transaction() as session:
        other = another(Factory(session, start=5000))
    assert api.get("/v1/collections/tools").get_json()["calibration"] is None
    told = identified(api, images[0])["calibration"]
    assert told["source"] == ("model" if calibrated else "none")  # the card's domain is general
    assert "belongs to another model version" in told["note"]
    lifecycle.activate(transaction, former.id)
    assert identified(api, images[0])["calibration"]["source"] == "collection"
    lifecycle.activate(transaction, other.id)
    lifecycle.retire(transaction, former.id)
    lifecycle.drop_retired(transaction, seconds=0)
    assert stored() == 0


def stored() -> int:
    with transaction() as session:
        return session.scalar(text("SELECT count(*) FROM collection_calibration")) or 0


def test_what_belongs_to_nothing_is_found_and_dropped(api: FlaskClient) -> None:
    former, _, _ = committed(gallery)
    assert api.post(PATH).status_code == 200
    with transaction() as session:
        Factory(session, start=5000).version()
    lifecycle.retire(transaction, former.id)
    kept = api.get(PATH).status_code
    with transaction() as session:
        rows = session.execute(text("TABLE collection_calibration")).all()
    lifecycle.drop_retired(transaction, seconds=0)
    with transaction() as session:
        session.execute(
            text("""
                INSERT INTO collection_calibration VALUES (:collection, :version, CAST(:calibration AS jsonb), :at)
            """),
            {**dict(zip(("collection", "version"), rows[0][:2], strict=True)),
             "calibration": json.dumps(rows[0][2]), "at": rows[0][3]},
        )  # fmt: skip
    context = Context(transaction, blobs(), None, settings(), None)  # type: ignore[arg-type]
    [found] = check_calibrations(context)
    assert (kept, found.found, stored()) == (404, 1, 1)
    context = Context(transaction, blobs(), None, settings(), None, repair=True)  # type: ignore[arg-type]
    check_calibrations(context)
    assert stored() == 0


def test_too_few_labels_are_told_with_how_many_it_takes(api: FlaskClient) -> None:
    def few(make: Factory) -> None:
        version = make.version()
        tools(make, version, each=4)
        for number in range(60):
            make.image(vector=near(0, number), version=version, label="hammer", collection="hammers")

    committed(few)
    body = api.post(PATH).get_json()
    assert (body["status"], body["code"]) == (409, "too_few_labels")
    assert "has 24 embedded images" in body["detail"]
    assert "needs 30 at least, of 2 labels" in body["detail"]
    assert "of 1 labels" in api.post("/v1/collections/hammers/calibration").get_json()["detail"]
    for method in (api.get, api.post, api.delete):
        assert method("/v1/collections/nowhere/calibration").status_code == 404


def test_its_own_figures_hold_for_pictures_it_has_not_seen(api: FlaskClient) -> None:
    """What it says of answered, right and refused, against fresh pictures of known and of unknown kinds."""
    version, _, _ = committed(gallery)
    body = api.post(PATH).get_json()

    def fresh(make: Factory) -> tuple[list[UUID], list[UUID]]:
        made = [
            make.image(vector=near(kind, number), version=version, collection="fresh")
            for kind in range(8)
            for number in range(100, 108)
        ]
        return made[: 8 * len(KINDS)], made[8 * len(KINDS) :]

    with transaction() as session:
        known, unknown = fresh(Factory(session, start=9000))
    answers = [identified(api, image_id) for image_id in known]
    right = [one["best"] == KINDS[at // 8] for at, one in enumerate(answers) if not one["unknown"]]
    assert len(right) / len(known) == pytest.approx(body["answered"], abs=0.15)
    assert sum(right) / len(right) > 0.9
    assert sum(identified(api, image_id)["unknown"] for image_id in unknown) / len(unknown) > 0.7
    Calibration.model_validate({name: body[name] for name in ("vote", "distances", "quality", "fitted")})


def test_a_comparison_of_labels_rests_on_the_collection_too(api: FlaskClient) -> None:
    committed(gallery)
    asked = "/v1/label-issues?collection=tools"
    assert api.get(asked).get_json()["calibrated"] is False
    api.post(PATH)
    assert api.get(asked).get_json()["calibrated"] is True


def test_the_commands_that_the_guide_shows_do_what_it_says(postgres: Postgres, redis: Redis, tmp_path: Path) -> None:
    committed(lambda make: tools(make, make.version(card=CARD), collection="garden"))
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "search.md").read_text()
    block = re.search(r"### Calibrate.*?```bash\n(.*?)```", guide, re.DOTALL)
    assert block is not None
    server = Api(tmp_path / "log")
    where = f"127.0.0.1:{server.port}"
    tools_first = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shown = []
    try:
        for line in block[1].splitlines():
            command = line.replace("localhost:8080", where)
            env = {**os.environ, "UMBEL_URL": f"http://{where}", "PATH": tools_first}
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=env)
            assert done.returncode == 0, (line, done.stderr)
            shown.append(done.stdout)
        command = "umbel calibrate garden --show"
        again = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=env)
    finally:
        server.stop()
    fitted, described, posted, got, removed = shown
    assert fitted == described != ""
    assert "calibrated on 48 images of 6 labels" in fitted
    assert json.loads(posted) == json.loads(got)
    assert "no calibration of its own" in removed
    assert (again.returncode, again.stdout) == (1, "")
    assert "has no calibration for the active model" in again.stderr
