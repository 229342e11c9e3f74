"""Every knob of every process. Built once; nothing else reads the environment."""

import hashlib
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# sockaddr_un holds 108 bytes; Postgres appends "/.s.PGSQL.5432" (14) and a lock suffix.
LONGEST_SOCKET_DIR = 88


class Settings(BaseSettings):
    """Umbel's settings, from environment variables `UMBEL_…`; defaults suit one machine."""

    model_config = SettingsConfigDict(env_prefix="UMBEL_", frozen=True, env_ignore_empty=True)

    home: Path = Field(Path("var"), description="Folder that holds all state of a stack on one machine.")
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port the API listens on.")
    database_url: str | None = Field(
        None, description="Postgres, as postgresql+psycopg://…; unset: the embedded one in UMBEL_HOME."
    )
    redis_url: str | None = Field(None, description="Redis, as redis://…; unset: the embedded one in UMBEL_HOME.")
    blob_url: str | None = Field(
        None, description="Where picture bytes live, as file:///… or s3://…; unset: UMBEL_HOME/blobs."
    )

    max_bytes: int = Field(20 * 2**20, gt=0, description="Refuse files larger than this, in bytes.")
    max_pixels: int = Field(40_000_000, gt=0, description="Refuse pictures larger than this before decoding them.")
    min_side: int = Field(16, gt=0, description="Refuse pictures whose shorter side is below this, in pixels.")

    checkpoint: Path | None = Field(
        None,
        description="Model checkpoint (.safetensors with its card beside it); unset: the one shipped in ml/weights.",
    )
    device: str = Field("auto", description="Where the model runs: auto, cpu, cuda, cuda:1, mps.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Arithmetic of the model; auto: bf16 where the hardware has it natively, else fp32."
    )
    batch_size: int = Field(
        0, ge=0, le=1024, description="Pictures embedded at once; 0: 16 a core on a CPU, 128 on a GPU."
    )
    model_threads: int = Field(
        0, ge=0, description="Forwards side by side on a CPU, each on one thread; 0: one a core."
    )
    decode_threads: int = Field(2, ge=1, description="Threads that read and decode pictures in one worker.")

    lease_seconds: float = Field(
        60, gt=0, description="A claimed item that is neither finished nor renewed for this long is claimed again."
    )
    max_attempts: int = Field(3, ge=1, description="Attempts at one item before it fails for good.")
    sweep_seconds: float = Field(5, gt=0, description="How often the scheduler rings again for work left behind.")
    query_seconds: float = Field(15, gt=0, description="How long a search waits for the vector of its picture.")

    api_processes: int = Field(2, ge=1, description="gunicorn processes of the API.")
    api_threads: int = Field(16, ge=1, description="Threads in each gunicorn process.")
    log_level: str = Field("INFO", description="Least severe level that is logged.")
    log_json: bool = Field(False, description="Log as JSON lines instead of readable text.")

    @field_validator("home", "checkpoint")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @property
    def socket_dir(self) -> Path:
        """Folder of the embedded servers' Unix sockets: in `home` unless its path is too long for a socket."""
        inside = self.home / "run"
        if len(str(inside).encode()) <= LONGEST_SOCKET_DIR:
            return inside
        digest = hashlib.sha256(str(self.home).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"umbel-{digest}"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database, embedded or not."""
        return self.database_url or f"postgresql+psycopg://umbel@/umbel?host={quote(str(self.socket_dir))}"

    @property
    def redis(self) -> str:
        """URL of Redis as redis-py spells it."""
        return self.redis_url or f"unix://{quote(str(self.socket_dir))}/redis.sock"

    @property
    def broker(self) -> str:
        """URL of Redis as Celery spells it."""
        # kombu takes the path of a socket as it stands, where redis-py wants it quoted.
        return (self.redis_url or f"unix://{self.socket_dir}/redis.sock").replace("unix://", "redis+socket://", 1)

    @property
    def blobs(self) -> str:
        """URL of the blob store."""
        return self.blob_url or (self.home / "blobs").as_uri()


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
