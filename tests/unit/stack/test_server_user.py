"""The one mechanism by which a server's user is let through a folder: a POSIX ACL, written by hand."""

import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stack import server_user
from stack.server_user import Account, grant, let_through, list_changes, private_folder
from umbel.base.errors import StackError

STRANGER = Account("nobody", 65534, 65534)
linux = pytest.mark.skipif(sys.platform != "linux", reason="POSIX ACLs by extended attribute are Linux's")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def entries(path: Path) -> list[tuple[int, int, int]]:
    return list(struct.iter_unpack("<HHI", os.getxattr(path, server_user.ACL)[4:]))


@linux
def test_a_grant_names_one_user_and_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    grant(tmp_path, STRANGER, server_user.SEARCH)
    assert entries(tmp_path) == [
        (server_user.USER_OBJ, 7, server_user.NO_ID),
        (server_user.USER, 1, 65534),
        (server_user.GROUP_OBJ, 5, server_user.NO_ID),
        (server_user.MASK, 5, server_user.NO_ID),
        (server_user.OTHER, 0, server_user.NO_ID),
    ]


@linux
def test_a_second_grant_adds_to_the_first(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    grant(tmp_path, STRANGER, server_user.SEARCH)
    grant(tmp_path, STRANGER, server_user.READ)
    grant(tmp_path, Account("other", 65533, 65533), server_user.SEARCH)
    assert [(perm, id_) for tag, perm, id_ in entries(tmp_path) if tag == server_user.USER] == [(1, 65533), (5, 65534)]


@linux
def test_a_grant_gives_nobody_what_the_mask_had_withheld(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    grant(tmp_path, Account("other", 65533, 65533), 7)
    tmp_path.chmod(0o700)  # the group bits are the mask now: the grant is withheld
    grant(tmp_path, STRANGER, server_user.SEARCH)
    assert [(perm, id_) for tag, perm, id_ in entries(tmp_path) if tag == server_user.USER] == [(0, 65533), (1, 65534)]


@linux
@root
def test_the_user_gets_through_and_only_through() -> None:
    with tempfile.TemporaryDirectory() as locked:  # each new session of pytest resets the permissions of its own
        inside = Path(locked, "deeper", "file")
        inside.parent.mkdir(mode=0o700)
        inside.write_text("open to all who get here")
        let_through(inside, STRANGER)
        as_stranger = STRANGER.options()
        assert subprocess.run(["cat", inside], check=False, capture_output=True, **as_stranger).returncode == 0
        assert subprocess.run(["ls", inside.parent], check=False, capture_output=True, **as_stranger).returncode != 0


@linux
@root
def test_root_is_told_beforehand_what_is_changed_for_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_user, "SERVER_USER", "umbel-is-not-there")
    with tempfile.TemporaryDirectory() as locked:
        home = Path(locked, "home")
        created, let_in = list_changes([home / "postgres", home / "run"])
        assert "the system user 'umbel-is-not-there' is created" in created
        assert f"is let through {Path(locked).resolve()} by an ACL" in let_in
        Path(locked).chmod(0o755)
        assert list_changes([home / "postgres"]) == [created]
        monkeypatch.setattr(server_user, "SERVER_USER", "nobody")
        assert list_changes([home / "postgres"]) == []


def test_a_file_system_without_acls_is_answered_with_the_command_that_helps(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse, raising=False)
    with pytest.raises(StackError, match=f"chmod o\\+x {tmp_path}"):
        grant(tmp_path, STRANGER, server_user.SEARCH)


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    private_folder(folder, None)
    assert folder.stat().st_mode & 0o777 == 0o700


@root
def test_a_folder_of_a_stranger_is_not_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(StackError, match="belongs to"):
        private_folder(folder, Account("umbel", 12345, 12345))
