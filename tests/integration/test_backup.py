"""A backup answers what the original answered; it is whole whatever happens meanwhile; what is damaged is named."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import numpy as np
import pytest
from psycopg import sql
from sqlalchemy.orm import Session

from stack.binaries import postgres_client
from stack.postgres import Postgres
from stack.redis import Redis
from tests.integration import damage
from tests.integration.damage import Gallery, unwatched
from tests.integration.factory import unit
from umbel.base import schema
from umbel.base.blobs import Blobs
from umbel.base.database import engine_of, transaction
from umbel.base.errors import BackupError, DumpFailed
from umbel.base.settings import settings
from umbel.gallery import collections, images
from umbel.models import collection_calibrations, versions
from umbel.models.calibration import Calibration
from umbel.operations import dump
from umbel.operations.backup import Backup, Origin, back_up, read_backup
from umbel.operations.restore import restore
from umbel.search.nearest import Found, Scope, nearest_images

pytestmark = pytest.mark.usefixtures("database")

QUERIES = 100
CARD = json.loads((Path(__file__).parents[2] / "ml" / "weights" / "umbel-b0.json").read_text())
CALIBRATION = Calibration.model_validate(CARD["calibration"])


@pytest.fixture
def original(tmp_path: Path, redis: Redis) -> Gallery:
    made = Gallery(Blobs((tmp_path / "blobs").as_uri()), tmp_path)
    made.register(1)
    made.images = [made.upload(seed) for seed in range(12)]
    made.work()
    return made


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    """URL of an empty database beside the original's."""
    name = "restored"
    with postgres.connect("postgres") as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER umbel").format(sql.Identifier(name)))
    with postgres.connect(name) as admin:
        admin.execute("CREATE EXTENSION vector")
    yield postgres.url(name)
    engine_of(postgres.url(name)).dispose()
    with postgres.connect("postgres") as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def origin(blobs: Blobs) -> Origin:
    pg_dump = postgres_client("pg_dump")
    return Origin(
        snapshot=dump.snapshot,
        dump=lambda snapshot, target: dump.dump(pg_dump, settings().database, target, snapshot=snapshot.name),
        blobs=blobs,
        umbel="test",
        schema_revision=schema.head() or "",
    )


def backed_up(original: Gallery, blobs: Blobs | None = None) -> tuple[Path, Backup]:
    folder = original.folder / "backup"
    return folder, back_up(origin(blobs or original.blobs), folder, unwatched)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def check_sums(folder: Path) -> int:
    return subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode


def umbel(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def answers(url: str) -> list[Found]:
    """What the database says to a hundred searches."""
    with Session(engine_of(url)) as session:
        version = versions.get_active_key(session)
        queries = np.stack([unit(5000 + seed) for seed in range(QUERIES)])
        return [nearest_images(session, query, version=version, k=10, scope=Scope()) for query in queries]


@pytest.mark.slow
def test_a_restored_gallery_answers_a_hundred_searches_as_the_original_did(original: Gallery) -> None:
    """By the commands, into the embedded database of a new home; and the backup of that is the same again."""
    before = answers(settings().database)
    with transaction() as session:
        version = versions.get_active_key(session)
        place = collections.upsert_collection(session, "default")
        kept = collection_calibrations.upsert_calibration(session, place, version.id, CALIBRATION)
    folder = original.folder / "backup"
    made = umbel("backup", folder, UMBEL_BLOB_URL=(original.folder / "blobs").as_uri())
    assert (made.returncode, check_sums(folder)) == (0, 0), made.stderr
    home = Path(tempfile.mkdtemp(prefix="umbel-restored-"))  # not below pytest's folder, see tests/stacks.py
    server = Postgres(home, home / "run", durable=False)
    try:
        restored = umbel("restore", folder, "--json", UMBEL_HOME=str(home))
        assert restored.returncode == 0, restored.stderr
        assert json.loads(restored.stdout)["ok"] is True
        again = umbel("backup", home / "again", UMBEL_HOME=str(home))
        assert again.returncode == 0, again.stderr
        server.start()
        after = answers(server.url())
        with Session(engine_of(server.url())) as session:
            calibrated = collection_calibrations.find_calibration(session, place, version.id)
        with server.connect() as connection:
            rights = connection.execute(
                "SELECT has_function_privilege('umbel_reader', oid, 'EXECUTE'), EXISTS (SELECT FROM aclexplode(proacl)"
                " WHERE grantee = 0) FROM pg_proc WHERE proname = 'nearest'"
            ).fetchone()
        pictures = [(home / "again", files(home / "again" / "blobs")), (folder, files(folder / "blobs"))]
    finally:
        engine_of(server.url()).dispose()
        server.stop()
    assert len(before) == QUERIES
    assert all(len(found.matches) == 10 for found in before)
    assert after == before
    assert calibrated == kept
    assert rights == (True, False)  # the reader may search, and nobody else
    assert pictures[0][1] == pictures[1][1] != []
    shutil.rmtree(home)


@pytest.mark.slow
def test_the_database_moves_to_another_postgres_or_stays_as_it_was(original: Gallery) -> None:
    """With one version of Umbel in both places; first the newer one is broken."""
    folder, _ = backed_up(original)
    home = Path(tempfile.mkdtemp(prefix="umbel-upgraded-"))
    broken = original.folder / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "umbel").write_text("#!/bin/sh\nmkdir $UMBEL_HOME/postgres; exit 1\n")
    (broken / "bin" / "umbel").chmod(0o755)
    assert umbel("restore", folder, UMBEL_HOME=str(home)).returncode == 0
    identity = (home / "postgres" / "global" / "pg_control").stat().st_ino
    failed = upgrade(home, to=broken)
    kept = (home / "postgres" / "global" / "pg_control").stat().st_ino
    moved = upgrade(home, to=Path(sys.prefix))
    again = umbel("backup", home / "again", "--json", UMBEL_HOME=str(home))
    assert (failed.returncode, kept, moved.returncode) == (1, identity, 0), failed.stdout + moved.stdout + moved.stderr
    assert (home / "postgres.18" / "global" / "pg_control").stat().st_ino == identity
    assert json.loads(again.stdout)["images"] == 12
    shutil.rmtree(home)


def upgrade(home: Path, *, to: Path) -> "subprocess.CompletedProcess[str]":
    script = Path(__file__).parents[2] / "deploy" / "upgrade_postgres.sh"
    command = [str(script), sys.prefix, str(to)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "UMBEL_HOME": str(home)}
    )


def test_a_second_backup_copies_what_is_new_and_drops_what_was_deleted(original: Gallery) -> None:
    folder, _ = backed_up(original)
    deleted, kept = original.key(0), folder / "blobs" / original.key(1)
    written = kept.stat().st_ino
    images.remove_image(transaction, original.blobs, original.images[0])
    original.images.append(original.upload(99))
    _, second = backed_up(original)
    assert (second.images, second.missing, kept.stat().st_ino, check_sums(folder)) == (12, [], written, 0)
    assert not (folder / "blobs" / deleted).exists()
    assert (folder / "blobs" / original.key(-1)).exists()
    assert sorted(os.listdir(folder)) == ["SHA256SUMS", "backup.json", "blobs", "database.dump"]


class Deleting(Blobs):
    """A store from which an image is deleted just when its bytes are to be copied. Several threads copy."""

    victims: dict[str, UUID]  # by the keys of their bytes

    def open(self, key: str) -> BinaryIO:
        if victim := self.victims.pop(key, None):
            images.remove_image(transaction, self, victim)
        return super().open(key)


@pytest.mark.slow
def test_an_image_that_is_deleted_meanwhile_is_not_in_the_backup_at_all(original: Gallery, empty: str) -> None:
    store = Deleting((original.folder / "blobs").as_uri())
    store.victims = {original.key(0): original.images[0]}
    folder, made = backed_up(original, store)
    assert (made.images, made.missing) == (11, [])
    restored = umbel("restore", folder, **target(original, empty))
    assert restored.returncode == 0, restored.stdout + restored.stderr


def test_bytes_that_the_store_lacks_are_named_and_the_rest_is_backed_up(original: Gallery) -> None:
    damage.lose_bytes(original)
    folder, made = backed_up(original)
    assert (made.images, made.missing, check_sums(folder)) == (12, [original.key(0)], 0)
    seen = umbel("backup", folder, UMBEL_BLOB_URL=(original.folder / "blobs").as_uri())
    assert (seen.returncode, original.key(0) in seen.stderr) == (1, True)


def target(original: Gallery, url: str) -> dict[str, str]:
    return {"UMBEL_DATABASE_URL": url, "UMBEL_BLOB_URL": (original.folder / "other").as_uri()}


@pytest.mark.direct
def test_a_picture_that_rotted_in_the_backup_is_named_and_the_rest_restored(original: Gallery, empty: str) -> None:
    folder, _ = backed_up(original)
    (folder / "blobs" / original.key(3)).write_bytes(b"rot")
    seen = umbel("restore", folder, "--json", **target(original, empty))
    told = json.loads(seen.stdout)
    assert (seen.returncode, told["damaged"], told["mismatches"]) == (
        1,
        [f"blobs/{original.key(3)}"],
        {"missing_blob": 1},
    )


def test_a_gallery_is_never_restored_over(original: Gallery) -> None:
    folder, _ = backed_up(original)
    seen = umbel("restore", folder, **target(original, settings().database))
    assert (seen.returncode, "holds a gallery already" in seen.stderr) == (1, True)


@pytest.mark.direct
def test_a_restore_that_broke_off_is_done_again(original: Gallery, empty: str) -> None:
    folder, _ = backed_up(original)
    store = Blobs((original.folder / "other").as_uri())

    def broken(source: Path) -> None:
        raise DumpFailed("The power was cut.")

    with pytest.raises(DumpFailed):
        restore(folder, store, broken, unwatched)
    seen = umbel("restore", folder, **target(original, empty))
    assert seen.returncode == 0, seen.stderr


def test_a_dump_that_cannot_be_read_changes_nothing(original: Gallery, empty: str) -> None:
    folder, _ = backed_up(original)
    whole = (folder / "database.dump").read_bytes()
    cut = original.folder / "cut.dump"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(DumpFailed, match="pg_restore failed"):
        dump.load(postgres_client("pg_restore"), empty, cut, index_memory_mb=64)
    assert schema.current(empty) is None


@pytest.mark.parametrize("name", ["backup.json", "database.dump", "SHA256SUMS"])
def test_what_is_no_whole_backup_is_refused(name: str, original: Gallery) -> None:
    folder, _ = backed_up(original)
    (folder / name).write_bytes(b"{}\n")
    with pytest.raises(BackupError):
        restore(folder, original.blobs, lambda _: None, unwatched)


def test_a_folder_with_other_things_in_it_is_left_alone(original: Gallery) -> None:
    (original.folder / "backup").mkdir()
    (original.folder / "backup" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(BackupError, match=r"holiday\.jpg"):
        backed_up(original)


def test_a_failed_dump_leaves_the_last_backup_as_it_was(original: Gallery) -> None:
    folder, first = backed_up(original)

    def broken(snapshot: object, file: Path) -> None:
        raise DumpFailed("The disk is full.")

    with pytest.raises(DumpFailed):
        back_up(replace(origin(original.blobs), dump=broken), folder, unwatched)
    assert (read_backup(folder), check_sums(folder)) == (first, 0)
