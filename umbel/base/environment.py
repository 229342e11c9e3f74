"""The values of settings as they come from the environment: cleaned, checked, and told without their secrets."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import ByteSize, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

PREFIX = "UMBEL_"
# Read elsewhere than by Settings: by the Python client, Docker Compose, the tests and the notebook.
OTHERS = re.compile(r"UMBEL_(URL|ADDRESS|POSTGRES_PASSWORD|TEST_\w+|NOTEBOOK_\w+)")
# Kubernetes puts these of every service into every pod, and Docker those of a link: for one that is called `umbel`,
# UMBEL_PORT is tcp://10.0.0.1:8080.
OF_SERVICES = re.compile(r"UMBEL(_\w+)?_(SERVICE_(HOST|PORT)\w*|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)")
LINK = re.compile(r"(tcp|udp|sctp)://\S+")

_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?://", re.IGNORECASE)
REDIS_SCHEMES = ("redis", "rediss", "unix")
STORE_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss")
_SIZES = TypeAdapter(ByteSize)


class Environment(EnvSettingsSource):
    """The environment, without what was pasted around a value: spaces, line ends, quotes. Empty means unset."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if isinstance(value, str):
            value = _cleaned(value)
            if not value or (field_name == "port" and LINK.fullmatch(value)):
                value = None
        return value, key, is_complex


def _cleaned(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value


def unknown_names(names: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that is no setting but nearly the name of one. names: of the settings."""
    known = [f"{PREFIX}{name.upper()}" for name in names]
    for variable in environment:
        if not variable.upper().startswith(PREFIX) or variable.upper() in known:
            continue
        if OTHERS.fullmatch(variable) or OF_SERVICES.fullmatch(variable):
            continue
        if near := get_close_matches(variable.upper(), known, n=1, cutoff=0.75):
            yield f"{variable} is no setting and changes nothing; is {near[0]} meant?"


def problem_of(error: ValidationError, secrets: frozenset[str]) -> str:
    """The first setting that cannot be used, and why, in one sentence. secrets: settings whose values are not told."""
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0])
    reason = str(problem.get("ctx", {}).get("error", problem["msg"])).rstrip(".")
    told = "" if name in secrets else f" (it is {problem['input']!r})"
    return f"The setting {PREFIX}{name.upper()} cannot be used: {reason}{told}."


def size(value: object) -> object:
    """A number of bytes, which may have a unit: 20MB, 1.5 GiB."""
    if not isinstance(value, str) or value.lstrip("-").isdigit():
        return value
    try:
        return int(_SIZES.validate_python(value))
    except ValidationError:
        raise ValueError("it must be a number of bytes, such as 20971520, 20MB or 20MiB") from None


def absolute(path: Path) -> Path:
    """The path from the root, `~` replaced."""
    try:
        found = path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("the home directory that ~ stands for is not known here: write an absolute path") from None
    except OSError:
        raise ValueError("it is relative, and the current directory is gone: write an absolute path") from None
    try:
        os.fsencode(found).decode()
    except UnicodeDecodeError:
        raise ValueError("it has bytes that are not UTF-8") from None
    return found


def database_url(url: str) -> str:
    """The URL of a Postgres as SQLAlchemy spells it; hosts hand out postgres:// and postgresql://."""
    if not (match := _POSTGRES.match(url)):
        scheme = url.partition("://")[0] if "://" in url else ""
        other = f"{scheme}:// is no Postgres" if scheme else "it is no URL"
        raise ValueError(f"{other}: write postgresql://user:password@host:5432/database")
    url = f"postgresql+psycopg://{url[match.end() :]}"
    from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 - `umbel --help` does not wait for them
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        parts = make_url(url)
        arguments = parts.get_dialect()().create_connect_args(parts)[1]
        conninfo.make_conninfo(**arguments)
    except (ArgumentError, ValueError):  # their words may have the password
        raise ValueError("write postgresql://user:password@host:5432/database, one host and a port in digits") from None
    except ProgrammingError as error:  # an option that Postgres' library does not have
        raise ValueError(str(error).strip()) from None
    if "@" in (parts.host or ""):
        raise ValueError("an @ in the password must be written %40")
    return url


def redis_url(url: str) -> str:
    """The URL of a Redis as redis-py takes it."""
    parts = _split(url)
    if parts is None or parts.scheme not in REDIS_SCHEMES or (parts.scheme != "unix" and not parts.hostname):
        raise ValueError(
            "write redis://:password@host:6379/0 with #, /, ? and @ of the password as %23, %2F, %3F and %40,"
            " rediss:// for TLS, or unix:///path/redis.sock"
        )
    if parts.scheme == "unix":
        if not parts.path or parts.netloc.rpartition("@")[2]:
            raise ValueError("write unix:///path/redis.sock")
    elif not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError("what follows the host must be the number of a database, such as /0")
    return url


def blob_url(url: str) -> str:
    """The URL of a blob store: of a folder, which may be given by its absolute path, or of a bucket."""
    if url.startswith(("/", "~")):
        return absolute(Path(url)).as_uri()
    parts = _split(url)
    if parts is not None and parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.strip("/"):
        return url
    if parts is not None and parts.scheme in STORE_SCHEMES and parts.netloc:
        return url
    raise ValueError("write an absolute path, file:///path or s3://bucket/prefix")


def web_url(url: str) -> str:
    """An http or https URL."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write http://host:port or https://host")
    return url


def origin(text: str) -> str:
    """An origin as browsers send it, or * for any."""
    if text == "*":
        return text
    parts = _split(text)
    if parts is None or not parts.scheme or not parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is no origin such as https://pictures.example.org")
    return text.rstrip("/")


def host_name(text: str) -> str:
    """The name of a host, without scheme, port and path; .example.org, 10.0.0.0/8 and * stand for several."""
    with suppress(ValueError):
        if "/" in text:
            return str(ip_network(text, strict=False))
    if not re.fullmatch(r"\*|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f:]+\]?", text):
        raise ValueError(f"{text!r} is no name of a host: write it without http://, port and path")
    return text.strip("[]").removesuffix(".").lower() or text


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, None where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
