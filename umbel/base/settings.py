"""Every knob of every process. Built once; nothing else reads the environment."""

import hashlib
import os
import re
import shutil
import tempfile
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from umbel.base import environment
from umbel.base.errors import InvalidSetting, StackError

# sockaddr_un holds 108 bytes; Postgres appends "/.s.PGSQL.5432" (14) and a lock suffix.
LONGEST_SOCKET_DIR = 88
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


RATE = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches itself by that name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_import_root(text: str) -> bool:
    """Whether it is an absolute folder or an s3://bucket/prefix URL."""
    return Path(text).is_absolute() or bool(text.startswith("s3://") and text.removeprefix("s3://").strip("/"))


def _digest(*words: object) -> str:
    return hashlib.sha256("\0".join(map(str, words)).encode(errors="surrogateescape")).hexdigest()[:12]


def _separated(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


PostgresUrl = Annotated[str, AfterValidator(environment.database_url)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)]  # separated by commas
Hosts = Annotated[Names, AfterValidator(lambda names: tuple(map(environment.host_name, names)))]
Origins = Annotated[Names, AfterValidator(lambda names: tuple(map(environment.origin, names)))]
Bytes = Annotated[int, BeforeValidator(environment.size)]
Absolute = Annotated[Path, AfterValidator(environment.absolute)]
WebUrl = Annotated[str, AfterValidator(environment.web_url)]


class Settings(BaseSettings):
    """Umbel's settings, from environment variables `UMBEL_…`; defaults suit one machine."""

    model_config = SettingsConfigDict(env_prefix="UMBEL_", frozen=True, allow_inf_nan=False)

    home: Absolute = Field(Path("var"), description="Folder that holds all state of a stack on one machine.")
    host: Annotated[str, AfterValidator(lambda host: host.strip("[]"))] = Field(
        "127.0.0.1", description="Address the API listens on."
    )
    port: int = Field(8080, ge=1, le=65535, description="Port the API listens on.")
    database_url: PostgresUrl | None = Field(
        None,
        repr=False,
        description="Postgres, as postgresql://… or postgres://…; unset: the embedded one in UMBEL_HOME.",
    )
    database_direct_url: PostgresUrl | None = Field(
        None,
        repr=False,
        description="The same database past the pooler, where UMBEL_DATABASE_URL leads to one that lends connections to"
        " transactions, such as PgBouncer: for migrations, backups, locks, building indexes and LISTEN.",
    )
    database_read_url: Annotated[tuple[PostgresUrl, ...], NoDecode, BeforeValidator(_separated)] = Field(
        (),
        repr=False,
        description="Replicas of the database (streaming replication), separated by commas, which searches, lists,"
        " counts and exports may read from.",
    )
    replica_lag_seconds: float = Field(
        5, gt=0, description="A replica is not read from while it lacks changes that are older than this, in seconds."
    )
    redis_url: Annotated[str, AfterValidator(environment.redis_url)] | None = Field(
        None, repr=False, description="Redis, as redis://…; unset: the embedded one in UMBEL_HOME."
    )
    blob_url: Annotated[str, AfterValidator(environment.blob_url)] | None = Field(
        None,
        repr=False,
        description="Where the bytes of images live: an absolute path, file:///… or s3://…; unset: UMBEL_HOME/blobs.",
    )

    spool: Absolute | None = Field(
        None,
        description="Folder where large requests wait until they are complete, such as an archive during its upload;"
        " its disk bounds them. Unset: UMBEL_HOME/spool.",
    )
    max_bytes: Bytes = Field(20 * 2**20, gt=0, description="Refuse files larger than this, in bytes.")
    max_pixels: int = Field(40_000_000, gt=0, description="Refuse pictures larger than this before decoding them.")
    min_side: int = Field(16, gt=0, description="Refuse pictures whose shorter side is below this, in pixels.")

    checkpoint: Absolute | None = Field(
        None,
        description="Model checkpoint (.safetensors with its card beside it); unset: the one shipped in ml/weights.",
    )
    runtime: Literal["auto", "torch", "openvino"] = Field(
        "auto",
        description="What runs the model; auto: on a CPU what is fastest there, torch on a GPU. OpenVINO must agree"
        " with torch, else torch runs it.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$",
        description="Where the model runs: auto, cpu, cuda, cuda:1, mps.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of the model; auto: on a CPU what is fastest there, on a GPU bf16 if it has that.",
    )
    measure_seconds: float = Field(
        1,
        ge=0,
        le=60,
        description="Seconds for which each runtime and arithmetic is timed when a CPU first loads a model. 0: none is"
        " timed, and OpenVINO runs it in fp32.",
    )
    batch_size: int = Field(
        0, ge=0, le=1024, description="Pictures embedded at once; 0: 16 a core on a CPU, 128 on a GPU."
    )
    model_threads: int = Field(
        0,
        ge=0,
        description="Inferences that run in parallel on a CPU, one thread each; a single query uses all threads."
        " 0: one a core, or one for two cores where that is faster.",
    )
    decode_processes: int = Field(
        0,
        ge=0,
        description="Child processes that read and decode pictures for one worker, about 60 MB each; 0: one for every"
        " four cores and at least two, or one a core for a worker with an NVIDIA or AMD GPU; in a container by its CPU"
        " quota, and at most one for every 512 MiB of its memory.",
    )
    decode_seconds: float = Field(
        30, gt=0, description="A picture that takes longer to decode fails, and its decoder is replaced."
    )
    decode_memory: Bytes = Field(
        0,
        ge=0,
        description="Bytes of address space that one picture's decoding may take, 256 MiB at least; more, and the"
        " picture fails. 0: 2 GiB, in a container at most three quarters of its memory.",
    )

    lease_seconds: float = Field(
        60, gt=0, description="A claimed item that is neither finished nor renewed for this long is claimed again."
    )
    max_attempts: int = Field(3, ge=1, description="Attempts at one item before it fails for good.")
    max_pending: int = Field(
        500_000, ge=1, description="Most pending items; beyond it uploads get 429 and the listing of sources pauses."
    )
    defer_index_above: int = Field(
        2_000,
        ge=1,
        description="An import of this many images into fewer, 50,000 at most, is loaded without the HNSW index, built"
        " afterwards, or when there are 100,000.",
    )
    collection_index_above: int = Field(
        0,
        ge=0,
        description="Images from which a collection gets an HNSW index of its own, unless it holds most of the gallery;"
        " 0: none gets one.",
    )
    index_memory_mb: int = Field(512, ge=1, description="Memory for building an HNSW index, in MB; more is faster.")
    index_processes: int = Field(1, ge=0, description="Processes that help in building an HNSW index.")
    gate_drop: float = Field(
        0.01,
        ge=0,
        le=1,
        description="A reindex does not switch to a model version whose R@1 or MAP@R on the gallery's labelled pictures"
        " is lower than the active one's by more than this, with 95 % certainty.",
    )
    max_checkpoint_bytes: Bytes = Field(
        2**30, gt=0, description="Refuse to register checkpoints larger than this, in bytes."
    )
    min_free_bytes: Bytes = Field(
        2**29, ge=0, description="A blob store in a folder takes no more bytes when its disk has less than this free."
    )
    sweep_seconds: float = Field(
        5, gt=0, description="Seconds between two sweeps, which wake queues with work left behind."
    )
    stalled_after: float = Field(
        60, gt=0, description="Seconds without progress of any worker, while work waits, after which /readyz says 503."
    )
    broker_timeout: float = Field(
        300,
        gt=0,
        description="A worker exits, to be restarted, if work waits and Redis has sent nothing for this many seconds.",
    )
    hang_seconds: float = Field(
        300,
        gt=0,
        description="A worker exits, to be restarted, when a batch gets no further for this many seconds, such as a"
        " forward that does not return, or a model is not loaded by then, whatever else goes on.",
    )
    max_failed_batches: int = Field(
        2, ge=1, description="A worker exits, to be restarted, when this many batches in a row gave no vector."
    )
    statement_seconds: float = Field(
        20,
        ge=0,
        description="Longest time that one statement of a request may take in Postgres; then the request gets 503"
        " `timed_out`. 0: no limit.",
    )
    worker_statement_seconds: float = Field(
        600,
        ge=0,
        description="The same for the statements of workers, which are tried again. Index builds, migrations, backups"
        " and commands have no limit.",
    )
    idle_transaction_seconds: float = Field(
        300,
        ge=0,
        description="Postgres ends a transaction of the API or a worker in which nothing has happened for this long, as"
        " of a process that hangs; 0: never.",
    )
    query_seconds: float = Field(15, gt=0, description="Seconds that a search waits for the vector of its image.")

    import_roots: Names = Field(
        (),
        description="What imports may read on the server, separated by commas: absolute folders and s3://bucket/prefix"
        " URLs. A source must lie below one of them; unset: imports read uploads only.",
    )
    import_urls: bool = Field(
        False,
        description="Whether images may be given by http and https URLs: many in a list, fetched by the workers, or one"
        " in an upload, fetched by the API.",
    )
    private_hosts: Hosts = Field(
        (),
        description="Hosts, separated by commas, that URLs of images and webhooks may lead to though their addresses"
        " are not public: names, .example.org for subdomains, 10.0.0.0/8 for a network, * for any; unset: none.",
    )
    url_seconds: float = Field(20, gt=0, description="Longest time for fetching one URL, in seconds.")
    url_tries: int = Field(
        12,
        ge=1,
        description="Times that a URL of an import is tried whose server cannot be reached or answers 5xx, 408, 425 or "
        "429, before its item fails as `unreachable`; 2 seconds after the first, then twice as long each time, up to "
        "a minute: 12 make seven minutes. What the server refuses otherwise, such as 404, fails at once.",
    )
    source_tries: int = Field(
        11,
        ge=1,
        description="Times in a row that a bucket or a mounted folder is tried that cannot be reached, before its"
        " import ends; 2 seconds after the first, then twice as long each time, up to ten minutes: 11 make 27 minutes.",
    )
    s3_endpoint: WebUrl | None = Field(
        None,
        description="Endpoint of the S3 that imports read; unset: AWS_ENDPOINT_URL, else Amazon's. Credentials are"
        " AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, else those of the role of the pod"
        " or machine; AWS_SKIP_SIGNATURE=true for public buckets; profiles in ~/.aws are not read.",
    )
    archive_bytes: Bytes = Field(
        20 * 2**30,
        gt=0,
        description="Refuse archives and manifests that are larger than this, packed or unpacked; or files of vectors.",
    )
    archive_entries: int = Field(
        1_000_000, gt=0, description="Refuse archives and manifests with more entries than this."
    )
    archive_ratio: int = Field(
        200, gt=1, description="Refuse entries that unpack to more than this many times their packed size."
    )

    api_processes: int = Field(
        0, ge=0, description="Processes of the API; 0: two, or one in a container of less than 1 GiB of memory."
    )
    api_threads: int = Field(16, ge=1, description="Requests that each process answers at once.")
    key: SecretStr | None = Field(None, description="Key that the command line calls the API with.")
    require_keys: bool = Field(
        False,
        description="Answer only to keys (`umbel keys create`). Without it the API listens on the loopback alone, where"
        " every user of this machine may do everything.",
    )
    open_metrics: bool = Field(
        False, description="Answer /metrics without a key, for a Prometheus on the same private network."
    )
    session_hours: float = Field(12, gt=0, description="How long a browser stays signed in, in hours.")
    job_days: int = Field(
        90,
        ge=0,
        description="How long finished jobs are kept with their items and idempotency keys, in days; 0: for ever. Jobs"
        " with images that could not be embedded stay as long as these images.",
    )
    event_days: int = Field(
        7, ge=1, description="How long events are kept, for listeners that resume and for replays, in days."
    )
    event_listeners: int = Field(
        256, ge=0, description="Most listeners of GET /v1/events that each process of the API has at once."
    )
    webhook_seconds: float = Field(
        10, gt=0, le=60, description="Longest time for one delivery to a webhook, in seconds."
    )
    webhook_hours: float = Field(
        24,
        gt=0,
        le=168,
        description="How long a delivery is tried again before it is given up, and a webhook may fail before it is"
        " disabled, in hours.",
    )
    webhook_retry_seconds: float = Field(
        5,
        gt=0,
        description="Seconds before a failed delivery is tried again, then three times as long each time, up to three"
        " hours, each drawn between 0.8 and 1.2 times that.",
    )
    trash_days: int = Field(
        7,
        ge=0,
        description="How long removed images can be restored, in days; then they go with their bytes. 0: at once.",
    )
    audit_days: int = Field(400, ge=1, description="How long the audit log keeps entries, in days.")
    allowed_hosts: Hosts = Field(
        (),
        description="Host names of the API, separated by commas, besides those of the loopback and UMBEL_HOST;"
        " .example.org stands for its subdomains, 10.0.0.0/8 for the addresses of a network, * for any. Requests for"
        " other names get 400.",
    )
    proxies: int = Field(
        0,
        ge=0,
        description="Number of reverse proxies before the API whose X-Forwarded-For, -Proto, -Host, -Port and -Prefix"
        " are trusted.",
    )
    rate_limit: str | None = Field(
        None,
        description="How often one key (or one address without a key) may call, such as 600/minute; unset: no limit.",
    )
    auth_failure_limit: str = Field(
        "30/minute",
        description="How many wrong keys one address (of IPv6: one /64 network) may present; more get 429 unchecked.",
    )
    cors_origins: Origins = Field(
        (),
        description="Origins whose pages may call the API with a key, separated by commas, such as"
        " https://pictures.example.org; unset: only its own page.",
    )

    slow_seconds: float = Field(
        20,
        gt=0,
        description="A request gets 408 when it has not arrived after this many seconds, plus one second for each"
        " UMBEL_SLOW_BYTES that have arrived.",
    )
    slow_bytes: Bytes = Field(1000, ge=1, description="Bytes a second below which a client is too slow.")

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)] = Field(
        "INFO", description="Least severe level that is logged: debug, info, warning, error, critical."
    )
    metrics_host: str = Field("127.0.0.1", description="Address a worker serves its metrics on.")
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port a worker serves its metrics on, for Prometheus; 0: none. The API has /metrics.",
    )
    trace_endpoint: WebUrl | None = Field(
        None,
        description="OpenTelemetry collector for traces, as http://host:4318 (OTLP over HTTP); unset: none. Needs"
        " umbel[tracing].",
    )
    trace_ratio: float = Field(
        1, ge=0, le=1, description="Share of requests that are traced, where the caller has not decided."
    )
    log_json: bool = Field(False, description="Log as JSON lines instead of readable text.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """From arguments, then from the environment; no files."""
        return init_settings, environment.Environment(settings_cls)

    @field_validator("key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not re.fullmatch("[!-~]+", key.get_secret_value()):
            raise ValueError("a key has letters, digits and _ only")
        return key

    @field_validator("import_roots")
    @classmethod
    def _folders_or_buckets(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            if not is_import_root(root):
                raise ValueError(f"{root!r} is neither an absolute folder nor an s3://bucket/prefix URL")
        return roots

    def refuse_to_be_open(self) -> None:
        """Raises StackError if callers on other machines could use the API without a key."""
        if not (self.require_keys or is_loopback(self.host)):
            raise StackError(
                f"the API would be open to everybody who reaches {self.host or 'this machine'}: set"
                " UMBEL_REQUIRE_KEYS=true and make keys with `umbel keys create`, or leave UMBEL_HOST at 127.0.0.1"
            )

    @field_validator("decode_memory")
    @classmethod
    def _enough_to_decode(cls, size: int) -> int:
        if 0 < size < 2**28:
            raise ValueError("it must be 256 MiB or more, or 0")
        return size

    @field_validator("rate_limit", "auth_failure_limit")
    @classmethod
    def _understood(cls, limit: str | None) -> str | None:
        if limit is not None and not RATE.fullmatch(limit):
            raise ValueError("it must be a number of calls per second, minute, hour or day, such as 600/minute")
        return limit

    @property
    def socket_dir(self) -> Path:
        """Folder of the embedded servers' Unix sockets: in `home` unless its path is too long for a socket.

        Then it depends on the home alone, since TMPDIR is another one in each login, cluster job and service.
        """
        inside = self.home / "run"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_DIR:
            return inside
        parent = next((path for path in SHORT_FOLDERS if os.access(path, os.W_OK)), SHORT_FOLDERS[0])
        return Path(parent, f"umbel-{_digest(os.path.realpath(self.home))}")

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database, embedded or not; it may lead through a pooler of transactions."""
        return self.database_url or f"postgresql+psycopg://umbel@/umbel?host={quote(os.fsencode(self.socket_dir))}"

    @property
    def direct_database(self) -> str:
        """SQLAlchemy URL for what needs a connection of its own: its state, its locks, its notifications."""
        return self.database_direct_url or self.database

    @property
    def redis(self) -> str:
        """URL of Redis as redis-py spells it."""
        return self.redis_url or f"unix://{quote(os.fsencode(self.socket_dir))}/redis.sock"

    @property
    def broker(self) -> str:
        """URL of Redis as Celery spells it."""
        # kombu takes the path of a socket as it stands, where redis-py wants it quoted.
        return (self.redis_url or f"unix://{self.socket_dir}/redis.sock").replace("unix://", "redis+socket://", 1)

    @property
    def blobs(self) -> str:
        """URL of the blob store."""
        return self.blob_url or (self.home / "blobs").as_uri()


# prometheus_client knows no other way of being told than the environment.
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
METRICS_ROOM = 16 * 2**20  # bytes


def share_metrics(settings: Settings) -> None:
    """Let all processes that descend from this one add up their figures. For the API, before its server starts.

    In memory where there is a folder with room for that, and begun anew at each start.
    """
    parent = "/dev/shm" if _has_room("/dev/shm", METRICS_ROOM) else tempfile.gettempdir()
    name = f"umbel-metrics-{os.getuid()}-{_digest(settings.home, settings.host, settings.port)}"
    folder = Path(parent, name)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # another user's
        folder = Path(tempfile.mkdtemp(prefix="umbel-metrics-"))
    os.environ[SHARED_METRICS] = str(folder)


def share_no_metrics() -> str:
    """Count in a new folder for this process alone, and return it. Raises OSError."""
    os.environ[SHARED_METRICS] = tempfile.mkdtemp(prefix="umbel-metrics-")
    return os.environ[SHARED_METRICS]


def _has_room(folder: str, size: int) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK) and found.f_bavail * found.f_frsize >= size


def shared_metrics() -> str | None:
    """Where the processes of this API add up their figures; None for a process that counts alone."""
    return os.environ.get(SHARED_METRICS)


SECRETS = frozenset(name for name, field in Settings.model_fields.items() if not field.repr) | {"key"}


@cache
def settings() -> Settings:
    """The settings of this process. Raises InvalidSetting, which names the first that cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidSetting(environment.problem_of(error, SECRETS)) from None


def process_environment() -> dict[str, str]:
    """All that this process was started with, secrets too."""
    return dict(os.environ)


def unknown_settings() -> list[str]:
    """A sentence for each variable of the environment that is nearly the name of a setting."""
    return [*environment.unknown_names(Settings.model_fields, os.environ)]
