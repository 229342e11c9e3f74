"""An S3 server of a test run: moto's, with which boto3 and obstore speak as with any other."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def s3_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Its URL, without any bucket; port: 0 for a free one."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - a second, which few of the tests need

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(host, port, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()
