"""The JavaScript client as its users get it: built of the specification, checked by TypeScript, run by Node."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.test_server import Api
from tests.integration.workers import start_worker
from tests.processes import Process

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("database"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="Node is not installed"),
]


def run(*command: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package as it is published, in a project that installed it."""
    source = tmp_path / "client-js"
    shutil.copytree(ROOT / "client-js", source, ignore=shutil.ignore_patterns("node_modules", "schema.d.ts"))
    run("npm", "ci", "--no-fund", "--no-audit", folder=source)
    return source


def test_the_example_is_typed_and_runs(
    app: Flask, package: Path, postgres: Postgres, redis: Redis, tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(app.spec))  # type: ignore[attr-defined]
    run("node", "build.js", str(tmp_path / "openapi.json"), folder=package)
    (package / "node_modules" / "umbel-client").symlink_to(package)
    run("npm", "run", "types", folder=package)
    (tmp_path / "photo.png").write_bytes(image_bytes(1))
    worker: Process = start_worker("embed@javascript", tmp_path / "worker.log")
    api = Api(tmp_path / "api.log")
    try:
        printed = run("node", "example.js", str(tmp_path / "photo.png"), folder=package, UMBEL_URL=api.url)
    finally:
        api.stop()
        worker.stop()
    assert printed.splitlines() == ["succeeded 1", "1.00 rose", '[["rose",1]]', "404 not_found"]
