"""docs/developing and CONTRIBUTING.md: their blocks run, and what they name is there."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import inspect, text

from api import app as application
from api import create_app, needs
from cli.main import COMMANDS
from tests.images import image_bytes
from tests.integration.factory import committed
from tests.integration.uploads import post_image
from umbel.base.database import engine, transaction

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / "docs" / "developing").glob("*.md"), ROOT / "CONTRIBUTING.md"]
MADE_UP = {"umbel/gallery/unlabelled.py", "api/unlabelled.py", "umbel/gallery/temporary_names.py"}
MADE_UP |= {"migrations/versions/9999_kept_until.py"}

Run = Callable[[str], ModuleType]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the blocks of a page that have the name of a file, as these modules; returns the last of them."""

    def blocks(page: str) -> ModuleType:
        found = re.findall(
            r"`([\w/]+)\.py`:\n\n```python\n(.*?)```", (ROOT / "docs/developing" / page).read_text(), re.S
        )
        for path, code in found:
            module = ModuleType(path.replace("/", "."))
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(code, module.__dict__)
        return module

    return blocks


@pytest.mark.usefixtures("database", "redis")
def test_the_route_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "RESOURCES", (*application.RESOURCES, run("route.md")))
    monkeypatch.setattr(needs, "NEEDS", needs.NEEDS.copy())
    [line] = re.findall(r"^NEEDS\[.*$", (ROOT / "docs/developing/route.md").read_text(), re.MULTILINE)
    exec(line, vars(needs))
    monkeypatch.setattr("api.access.NEEDS", needs.NEEDS)
    api = create_app().test_client()
    post_image(api, image_bytes(1), collection="garden")
    post_image(api, image_bytes(2), collection="garden", label="rose")
    assert api.get("/v1/unlabelled?collection=garden").get_json() == {"images": 1}
    assert api.get("/v1/unlabelled?collection=none").status_code == 404


@pytest.mark.usefixtures("database")
def test_the_handler_forgets_names(run: Run) -> None:
    committed(lambda make: [make.image(name=name) for name in ("a.tmp", "b.jpg")])
    handler = run("handler.md").TemporaryNamesHandler(transaction=transaction)
    handler.run()
    with transaction() as session:
        assert set(session.scalars(text("SELECT name FROM image"))) == {None, "b.jpg"}


@pytest.mark.usefixtures("postgres")
def test_the_migration_goes_up_and_down(run: Run) -> None:
    migration = run("migration.md")
    with engine().begin() as connection, Operations.context(MigrationContext.configure(connection)):
        migration.upgrade()
        assert "kept_until" in {column["name"] for column in inspect(connection).get_columns("image")}
        migration.downgrade()
        assert "kept_until" not in {column["name"] for column in inspect(connection).get_columns("image")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    written = page.read_text()
    named = set(re.findall(r"`((?:\w+/)+[\w.]*)`", written)) - MADE_UP
    assert {path for path in named if not (ROOT / path).exists()} == set()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {
        word for words in re.findall(r"make ((?:test |lint |[\w-]+))", written) for word in words.split()
    } <= targets
    assert set(re.findall(r"`?umbel ([a-z]\w+)", written)) <= COMMANDS.keys()


def test_the_licence_is_in_both_distributions() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in licence
    assert (ROOT / "client" / "LICENSE").read_text() == licence
