"""Settings come from the environment, and their page says what there is."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from pydantic import ValidationError

from umbel.base.describe import settings_page
from umbel.base.errors import StackError
from umbel.base.settings import LONGEST_SOCKET_DIR, Settings

ROOT = Path(__file__).parents[4]


def test_the_settings_page_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), (
        "python -m umbel.base.describe > docs/settings.md"
    )


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_setting_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_PORT", "9090")
    assert Settings().port == 9090


def test_a_value_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_PORT", "70000")
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("host", "require_keys", "rejected"),
    [("127.0.0.1", False, False), ("::1", False, False), ("localhost", False, False), ("0.0.0.0", True, False)]
    + [(host, False, True) for host in ("0.0.0.0", "::", "", "192.168.1.5", "umbel.example.org")],
)
def test_an_api_that_others_reach_asks_for_keys(host: str, require_keys: bool, rejected: bool) -> None:
    settings = Settings(host=host, require_keys=require_keys)
    with pytest.raises(StackError, match="UMBEL_REQUIRE_KEYS") if rejected else nullcontext():
        settings.refuse_to_be_open()


def test_only_the_settings_read_the_environment() -> None:
    packages = ("api", "cli", "migrations", "ml", "umbel", "worker")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(sources) > 50
    sources.remove(ROOT / "umbel" / "base" / "settings.py")
    assert [str(path) for path in sources if "os.environ" in path.read_text() or "getenv" in path.read_text()] == []


def test_a_socket_never_gets_a_path_too_long_for_it(tmp_path: Path) -> None:
    short = Settings(home=Path("/srv/umbel"))
    long = Settings(home=Path("/srv") / ("deep" * 30))
    assert short.socket_dir == Path("/srv/umbel/run")
    assert len(str(long.socket_dir)) <= LONGEST_SOCKET_DIR
    assert long.socket_dir != Settings(home=Path("/srv") / ("deep" * 31)).socket_dir


@pytest.mark.direct
def test_unset_urls_lead_to_the_embedded_servers() -> None:
    settings = Settings(home=Path("/srv/a b"))
    assert settings.database == "postgresql+psycopg://umbel@/umbel?host=/srv/a%20b/run"
    assert settings.redis == "unix:///srv/a%20b/run/redis.sock"
    assert settings.broker == "redis+socket:///srv/a b/run/redis.sock"


def test_given_urls_are_taken_as_they_are() -> None:
    settings = Settings(database_url="postgresql+psycopg://db/x", redis_url="redis://r:1/0", blob_url="s3://b/p")
    assert (settings.database, settings.redis) == ("postgresql+psycopg://db/x", "redis://r:1/0")
    assert (settings.broker, settings.blobs) == ("redis://r:1/0", "s3://b/p")
