"""The Redis of a stack on one machine."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client

from stack.redis import Redis


@pytest.fixture
def redis(home: Path) -> Iterator[Redis]:
    server = Redis(home, home / "run")
    yield server
    server.stop(signal.SIGKILL)


def test_redis_starts_on_a_socket_and_remembers(redis: Redis) -> None:
    redis.start()
    redis_client.Redis.from_url(redis.url()).lpush("queue", "wake")
    redis.stop()
    redis.start()
    assert redis_client.Redis.from_url(redis.url()).llen("queue") == 1


def test_broken_redis_data_are_set_aside(redis: Redis) -> None:
    redis.start()
    redis_client.Redis.from_url(redis.url()).set("queue", "wake" * 100)
    redis.stop()
    log = redis.data / "appendonly.aof"
    log.write_bytes(b"*3\r\n$3\r\nSET\r\nthis is no length\r\n" + log.read_bytes())
    redis.start()
    assert redis_client.Redis.from_url(redis.url()).dbsize() == 0
    assert len(list(redis.home.glob("redis.broken-*/appendonly.aof"))) == 1
