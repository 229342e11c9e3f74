"""Values of settings as people paste them: cleaned, understood or told in one line, and never with a password."""

from pathlib import Path

import pytest

from umbel.base.blobs import Blobs
from umbel.base.errors import InvalidSetting
from umbel.base.settings import Settings, settings, unknown_settings

PASSWORD = "hush-4711"


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """The settings of a process with these variables, as every command reads them."""
    for name, value in variables.items():
        monkeypatch.setenv(f"UMBEL_{name.upper()}", value)
    return settings.__wrapped__()


@pytest.mark.parametrize("value", ["9090", " 9090", "9090\n", "9090\r\n", '"9090"', "'9090'", ' "9090" \n'])
def test_what_was_pasted_around_a_value_is_left_out(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, port=value).port == 9090


@pytest.mark.parametrize("value", ["", " ", "\n", '""'])
def test_an_empty_variable_counts_as_unset(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(monkeypatch, port=value, database_url=value, import_roots=value, log_json=value, key=value)
    assert (found.port, found.database_url, found.import_roots, found.log_json, found.key) == (
        8080,
        None,
        (),
        False,
        None,
    )


def test_the_link_that_kubernetes_makes_of_a_service_called_umbel_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, port="tcp://10.43.7.1:8080").port == 8080


@pytest.mark.parametrize(
    ("value", "size"), [("1000", 1000), ("20MB", 20_000_000), ("20 MiB", 20 * 2**20), ("1.5GB", 1_500_000_000)]
)
def test_a_number_of_bytes_may_have_a_unit(value: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, max_bytes=value).max_bytes == size


@pytest.mark.parametrize(
    "url",
    ["postgres://u:p%40ss@db.example:5433/gallery?sslmode=require"]
    + [f"{scheme}://u:p%40ss@db.example:5433/gallery?sslmode=require" for scheme in ("postgresql", "POSTGRES")]
    + [f"postgresql+{driver}://u:p%40ss@db.example:5433/gallery?sslmode=require" for driver in ("psycopg", "psycopg2")],
)
def test_every_spelling_of_postgres_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, database_url=url).database == (
        "postgresql+psycopg://u:p%40ss@db.example:5433/gallery?sslmode=require"
    )


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/data/my blobs", "file:///data/my%20blobs"),
        ("file:///data/blobs", "file:///data/blobs"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("gs://bucket", "gs://bucket"),
    ],
)
def test_a_blob_store_is_a_url_or_a_folder(value: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, blob_url=value).blobs == url


@pytest.mark.parametrize("url", ["redis://localhost", "redis://:p@h:6380/2", "rediss://h", "unix:///run/redis.sock"])
def test_every_spelling_of_redis_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, redis_url=url).redis == url


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("database_url", f"mysql://u:{PASSWORD}@h/db", "mysql:// is no Postgres"),
        ("database_url", "sqlite:///umbel.db", "sqlite:// is no Postgres"),
        ("database_url", f"jdbc:postgresql://h/db?password={PASSWORD}", "is no Postgres"),
        ("database_url", "db.example:5432", "it is no URL"),
        ("database_url", f"postgres://u:{PASSWORD}@h:port/db", "a port in digits"),
        ("database_url", f"postgres://u:{PASSWORD}@h1:5432,h2:5432/db", "one host"),
        ("database_url", f"postgres://u:x@{PASSWORD}@h/db", "%40"),
        ("database_url", f"postgres://u:{PASSWORD}@h/db?pgbouncer=true", 'option "pgbouncer"'),
        ("redis_url", "localhost:6379", "redis://"),
        ("redis_url", "localhost", "redis://"),
        ("redis_url", f"http://:{PASSWORD}@h", "redis://"),
        ("redis_url", f"redis://:{PASSWORD}@h:port", "redis://"),
        ("redis_url", f"redis://:{PASSWORD}@h/first", "number of a database"),
        ("redis_url", f"redis://:{PASSWORD}#x@h", "%23"),
        ("redis_url", "redis://", "host:6379"),
        ("redis_url", "unix://run/redis.sock", "unix:///"),
        ("blob_url", "data/blobs", "file:///"),
        ("blob_url", "file://data/blobs", "file:///"),
        ("blob_url", "s3://", "s3://bucket"),
        ("blob_url", f"ftp://u:{PASSWORD}@h/x", "s3://bucket"),
        ("s3_endpoint", "minio:9000", "http://"),
        ("trace_endpoint", "collector:4318", "http://"),
        ("import_roots", "pictures", "absolute"),
        ("allowed_hosts", "https://umbel.example.org", "without http://"),
        ("allowed_hosts", "umbel.example.org:8080", "without http://"),
        ("cors_origins", "pictures.example.org", "no origin"),
        ("rate_limit", "600", "600/minute"),
        ("port", "-1", "greater than"),
        ("port", "65536", "less than"),
        ("port", "http", "integer"),
        ("api_threads", "0", "greater than"),
        ("max_bytes", "-5", "greater than"),
        ("max_bytes", "plenty", "20MB"),
        ("lease_seconds", "inf", "finite"),
        ("lease_seconds", "nan", "finite"),
        ("device", "gpu", "match"),
        ("log_level", "loud", "DEBUG"),
        ("require_keys", "perhaps", "boolean"),
        ("key", f"{PASSWORD}\x07", "letters"),
        ("home", "/srv/\udce9", "UTF-8"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_without_its_password(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidSetting) as raised:
        given(monkeypatch, **{name: value})
    assert raised.value.detail.startswith(f"The setting UMBEL_{name.upper()} cannot be used: ")
    assert told in raised.value.detail
    assert (PASSWORD in raised.value.detail, "\n" in raised.value.detail) == (False, False)


def test_a_home_below_the_home_directory_of_a_user_without_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # raises KeyError, as for a user id without a name
    with pytest.raises(InvalidSetting, match=r"UMBEL_HOME.*absolute path"):
        given(monkeypatch, home="~/umbel")


def test_a_home_relative_to_a_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidSetting, match=r"UMBEL_HOME.*current directory is gone"):
        given(monkeypatch, home="var")


@pytest.mark.parametrize("folder", ["/proc/umbel", "/etc/passwd", "/etc/passwd/below"])
def test_a_blob_store_that_cannot_be_made_is_named(folder: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{folder} .UMBEL_BLOB_URL. cannot be used"):
        Blobs(f"file://{folder}")


def test_hosts_and_origins_are_taken_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(
        monkeypatch, allowed_hosts="Umbel.Example.org., .lan, *, [::1]", cors_origins="https://a.example/, http://b:1"
    )
    assert found.allowed_hosts == ("umbel.example.org", ".lan", "*", "::1")
    assert found.cors_origins == ("https://a.example", "http://b:1")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("UMBEL_DATABSE_URL", "UMBEL_DATABASE_URL"), ("UMBEL_IMPORT_ROOT", "UMBEL_IMPORT_ROOTS")],
)
def test_a_variable_that_is_nearly_a_setting_is_warned_of(
    variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "x")
    assert [line for line in unknown_settings() if variable in line and f"is {meant} meant?" in line]


@pytest.mark.parametrize(
    "variable",
    ["UMBEL_URL", "UMBEL_API_PORT", "UMBEL_PORT_8080_TCP", "UMBEL_SERVICE_PORT", "UMBEL_TEST_PHOTOS", "UMBEL_QUUX"],
)
def test_other_variables_are_nobodys_mistake(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "x")
    assert [line for line in unknown_settings() if variable in line] == []
