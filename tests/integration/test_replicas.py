"""Reads by replicas: near enough to the primary, one's own changes seen, and no request lost with a replica."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from stack.postgres import PORT, Postgres
from tests.integration.factory import Factory, committed, unit
from tests.processes import eventually, frozen
from tests.replica import ReplicaServer
from umbel.base import replicas
from umbel.base.settings import settings
from umbel.models import versions

pytestmark = [pytest.mark.usefixtures("database", "redis"), pytest.mark.slow]
MOST_LAG = 2.0
SEGMENT = 16 * 2**20  # bytes of a file of the primary's log


@pytest.fixture(scope="module")
def servers(postgres: Postgres) -> Iterator[list[ReplicaServer]]:
    servers = [ReplicaServer(postgres.home, postgres.socket_dir, number) for number in (1, 2)]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def known(servers: list[ReplicaServer], monkeypatch: pytest.MonkeyPatch) -> Iterator[replicas.Replicas]:
    """Replicas that this process reads from."""
    urls = tuple(server.url() for server in servers)
    config = settings().model_copy(update={"database_read_url": urls})
    watched = replicas.Replicas(urls, MOST_LAG)
    monkeypatch.setattr(replicas, "settings", lambda: config)
    monkeypatch.setattr(replicas, "replicas", lambda: watched)
    eventually(lambda: all(one.lag() < MOST_LAG for one in watched.all))
    yield watched
    watched.stop()
    for one in watched.all:
        one.engine.dispose()


@pytest.fixture
def gallery(database: None) -> UUID:
    def made(make: Factory) -> UUID:
        version = make.version()
        first, *_ = [make.image(label="rose", vector=unit(n), version=version) for n in range(5)]
        return first

    return committed(made)


def caught_up(known: replicas.Replicas) -> None:
    now = replicas.position()
    assert now is not None
    eventually(lambda: all(one.position >= now for one in known.all))


def search(api: FlaskClient, image_id: UUID, **headers: str) -> Any:
    answer = api.post("/v1/search", json={"image_id": str(image_id), "k": 3}, headers=headers)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()


def replaying(servers: list[ReplicaServer], *, on: bool) -> None:
    for server in servers:
        with server.connect() as connection:
            connection.execute("SELECT pg_wal_replay_resume()" if on else "SELECT pg_wal_replay_pause()")


@pytest.fixture
def behind(servers: list[ReplicaServer], known: replicas.Replicas, gallery: UUID) -> Iterator[None]:
    """Replicas that have the gallery, and nothing that comes after it."""
    caught_up(known)
    replaying(servers, on=False)
    yield
    replaying(servers, on=True)


def test_searches_lists_and_counts_come_from_a_replica(
    api: FlaskClient, known: replicas.Replicas, gallery: UUID
) -> None:
    caught_up(known)
    found = search(api, gallery)
    assert 0 <= found["search"]["lag_seconds"] < MOST_LAG
    assert len(found["matches"]) == 3
    assert len(api.get("/v1/images?total=true").get_json()["items"]) == 5
    assert api.get("/v1/facets?by=label").get_json()["values"][0]["count"] == 5


def test_a_replica_has_all_where_the_primary_begins_a_segment_of_its_log(
    servers: list[ReplicaServer], known: replicas.Replicas
) -> None:
    with servers[0].connect(PORT) as primary:
        primary.execute("CHECKPOINT")  # the server writes nothing of its own for a while
        primary.execute("SELECT pg_switch_wal()")
    now = replicas.position()
    assert now is not None
    assert now % SEGMENT == 0
    caught_up(known)


@pytest.mark.usefixtures("behind")
def test_whoever_changed_something_sees_it_and_others_may_see_it_later(api: FlaskClient, gallery: UUID) -> None:
    changed = api.patch(f"/v1/images/{gallery}", json={"label": "tulip"})
    tulips = {"label": "tulip"}
    assert api.get("/v1/images", query_string=tulips).get_json()["items"] == []
    position = {"Umbel-Position": changed.headers["Umbel-Position"]}
    assert len(api.get("/v1/images", query_string=tulips, headers=position).get_json()["items"]) == 1
    assert search(api, gallery, **position)["search"]["lag_seconds"] is None
    assert api.get("/v1/images", headers={"Umbel-Position": "0/16"}).status_code == 422


@pytest.mark.usefixtures("behind")
def test_what_a_replica_does_not_know_yet_is_no_error(api: FlaskClient) -> None:
    def later(make: Factory) -> UUID:
        version = versions.find_active_version(make.session)
        return make.image(collection="later", vector=unit(1), version=version)

    image_id = committed(later)
    assert search(api, image_id)["search"]["lag_seconds"] is None
    assert api.get("/v1/facets?by=label&collection=later").get_json()["images"] == 1


@pytest.mark.usefixtures("behind")
def test_a_replica_that_is_too_late_is_left_alone(api: FlaskClient, known: replicas.Replicas, gallery: UUID) -> None:
    api.patch(f"/v1/images/{gallery}", json={"label": "tulip"})
    eventually(lambda: all(one.lag() > MOST_LAG for one in known.all))
    assert len(api.get("/v1/images?label=tulip").get_json()["items"]) == 1


def test_no_request_fails_while_one_replica_is_killed_and_one_stands_still(
    app: Flask, servers: list[ReplicaServer], known: replicas.Replicas, gallery: UUID
) -> None:
    caught_up(known)
    answers: list[int] = []
    ended = threading.Event()

    def load() -> None:
        api = app.test_client()
        while not ended.is_set():
            answers.append(api.post("/v1/search", json={"image_id": str(gallery)}).status_code)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(answers) > 40)
        first, second = servers
        with frozen(first.processes()):
            for process in second.processes():
                process.kill()
            eventually(lambda: all(one.lag() > MOST_LAG for one in known.all))
            before = len(answers)
            eventually(lambda: len(answers) > before + 40)
        eventually(lambda: known.all[0].lag() < MOST_LAG)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {200}
    assert search(app.test_client(), gallery)["search"]["lag_seconds"] is not None
