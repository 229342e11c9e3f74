"""What of the server a key may import from."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cli.keys import keys as cli_keys
from tests.images import image_bytes
from tests.integration.imports.archives import counts, use
from umbel.access.keys import ALL_ROOTS, KeyScope, create_key
from umbel.base.database import transaction
from umbel.base.roots import narrowed
from umbel.base.settings import settings

pytestmark = pytest.mark.usefixtures("database", "redis")

BUCKETS = ("s3://ours/2026", "s3://theirs")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a picture of ours and one of theirs, and a link from the one to the other."""
    for number, name in enumerate(("ours", "theirs")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(image_bytes(number))
    (tmp_path / "ours" / "link.jpg").symlink_to(tmp_path / "theirs" / "a.jpg")
    use(monkeypatch, import_roots=(str(tmp_path), *BUCKETS))
    return tmp_path


def key(collections: Sequence[str] = (), roots: Sequence[str] | None = None) -> dict[str, str]:
    with transaction() as session:
        made = create_key(
            session, name="k", scope=KeyScope.WRITE, collections=collections, import_roots=roots, actor="test"
        )
    return {"Authorization": f"Bearer {made[0]}"}


def by_folder(api: FlaskClient, headers: dict[str, str], root: Path, name: str) -> TestResponse:
    return api.post("/v1/imports", json={"source": {"type": "folder", "path": str(root / name)}}, headers=headers)


def by_list(api: FlaskClient, headers: dict[str, str], root: Path, name: str) -> TestResponse:
    data = {"file": (io.BytesIO(b"path\na.jpg\n"), "list.csv"), "base": str(root / name)}
    return api.post("/v1/imports", data=data, headers=headers)


def by_bucket(api: FlaskClient, headers: dict[str, str], root: Path, name: str) -> TestResponse:
    url = f"s3://{name}/2026"
    return api.post("/v1/imports", json={"source": {"type": "s3", "url": url}}, headers=headers)


def by_list_of_a_bucket(api: FlaskClient, headers: dict[str, str], root: Path, name: str) -> TestResponse:
    data = {"file": (io.BytesIO(b"path\na.jpg\n"), "list.csv"), "base": f"s3://{name}/2026"}
    return api.post("/v1/imports", data=data, headers=headers)


@pytest.mark.parametrize("way", [by_folder, by_list, by_bucket, by_list_of_a_bucket])
def test_a_key_imports_from_its_own_roots(api: FlaskClient, root: Path, way: Any) -> None:
    ours = (str(root / "ours"), "s3://ours")  # the bucket's root of the server is narrower
    for headers, reached in [
        ({}, {"ours", "theirs"}),
        (key(), {"ours", "theirs"}),
        (key(roots=ours), {"ours"}),
        (key(roots=()), set()),
        (key(["default"]), set()),
        (key(["default"], ours), {"ours"}),
        (key(["default"], ALL_ROOTS), {"ours", "theirs"}),
    ]:
        for name in ("ours", "theirs"):
            answer = way(api, headers, root, name)
            if name in reached:
                assert answer.status_code == 202, answer.text
            else:
                assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")


def test_no_root_of_a_key_reaches_beyond_those_of_the_server(api: FlaskClient, root: Path) -> None:
    answer = by_folder(api, key(roots=["/"]), root.parent, ".")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "source_error")
    assert narrowed([str(root), *BUCKETS], ["/", "s3://theirs/x"]) == ("s3://theirs/x", str(root))
    assert narrowed([str(root)], [f"{root}-more", "s3://ours"]) == ()


def test_no_link_leads_out_of_the_roots_of_a_key(api: FlaskClient, fetch: Any, root: Path) -> None:
    config = settings().model_copy(update={"import_roots": (str(root),)})
    limited = by_folder(api, key(roots=[str(root / "ours")]), root, "ours").get_json()["job_id"]
    fetch(config=config)
    assert counts(api, limited) == {"pending": 1, "failed": 1}
    assert counts(api, by_folder(api, key(), root, "ours").get_json()["job_id"]) == {}
    fetch(config=config)
    assert len(api.get("/v1/images").get_json()["items"]) == 2


def test_what_a_key_brings_itself_needs_no_root(api: FlaskClient, root: Path) -> None:
    headers = key(["default"])
    rows = {"file": (io.BytesIO(b"url\nhttps://example.org/a.jpg\n"), "list.csv")}
    assert api.post("/v1/imports", data=rows, headers=headers).status_code == 202
    sample = {"source": {"type": "sample", "species": 1, "per_species": 1}}
    assert api.post("/v1/imports", json=sample, headers=headers).status_code == 202


def test_the_command_line_grants_roots(api: FlaskClient) -> None:
    def roots_of(*options: str) -> Any:
        result = CliRunner().invoke(cli_keys, ["create", "--name", "k", "--scope", "write", *options, "--json"])
        return json.loads(result.stdout)["import_roots"] if result.exit_code == 0 else str(result.exception)

    assert roots_of() is None
    assert roots_of("--import-root", "none") == []
    assert roots_of("--collection", "garden") == []
    assert roots_of("--collection", "garden", "--import-root", "all") is None
    granted = ("--import-root", "/data/garden", "--import-root", "s3://photos/2026")
    assert roots_of("--collection", "garden", *granted) == ["/data/garden", "s3://photos/2026"]
    assert "neither an absolute folder" in roots_of("--import-root", "garden")
