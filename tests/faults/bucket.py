"""A bucket that imports read from, behind a wire that can be cut, clogged or slowed down."""

import logging
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.faults.proxy import Proxy
from tests.processes import free_port

NAME = "storm"
SLOW_SECONDS = 3.0  # before each piece of an answer
WAYS = {"refuses": "refuses connections", "silent": "never answers", "slow": "is slow"}


class Bucket:
    """An S3 server of its own. It is started when it is first filled."""

    def __init__(self) -> None:
        self._server_port = free_port()
        self._proxy = Proxy(("127.0.0.1", self._server_port))
        self._server: Any = None
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def environment(self) -> dict[str, str]:
        """What a stack needs to import from it."""
        return {
            "UMBEL_S3_ENDPOINT": f"http://127.0.0.1:{self._proxy.port}",
            "UMBEL_IMPORT_ROOTS": f"s3://{NAME}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def fill(self, prefix: str, pictures: Mapping[str, bytes]) -> str:
        """Put pictures there, by their names. Returns the URL that they are below."""
        if self._server is None:
            self._start()
        for name, data in pictures.items():
            self._client.put_object(Bucket=NAME, Key=f"{prefix}/{name}", Body=data)
        return f"s3://{NAME}/{prefix}"

    @contextmanager
    def away(self, way: str) -> Iterator[None]:
        """One of WAYS: nothing listens, or connections stand and nothing is answered, or little by little."""
        with self._lock:
            yield from self._away(way)

    def _away(self, way: str) -> Iterator[None]:
        port = self._proxy.port
        if way == "refuses":
            self._proxy.close()
        else:
            self._proxy.slow(SLOW_SECONDS if way == "slow" else None)
        try:
            yield
        finally:
            if way == "refuses":
                self._proxy = Proxy(("127.0.0.1", self._server_port), port=port)
            else:
                self._proxy.slow(0)
                self._proxy.cut(random.Random(0))

    def close(self) -> None:
        self._proxy.close()
        if self._server:
            self._server.stop()

    def _start(self) -> None:
        import boto3  # noqa: PLC0415 - these two take seconds
        from moto.server import ThreadedMotoServer  # noqa: PLC0415

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", self._server_port, verbose=False)
        self._server.start()
        self._client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self._server_port}", region_name="us-east-1",
            aws_access_key_id="key", aws_secret_access_key="secret",
        )  # fmt: skip
        self._client.create_bucket(Bucket=NAME)
