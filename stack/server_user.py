"""The user that the servers run as, and that user's access to their files.

Postgres refuses to run as root. So when root starts the stack, the servers run as the system user `umbel`. A POSIX ACL
lets exactly that user through folders that only root may enter (a checkout below /root, a `mktemp -d`); the permissions
of all other users stay as they are.

Where root is alone (`unshare -r`), and for a user id without a name, which initdb refuses, the servers run in a user
namespace of their own, where this very user is called `nobody`.
"""

import ctypes
import os
import pwd
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

from umbel.base.errors import StackError

SERVER_USER = "umbel"
NOBODY = 65534  # `nobody` in every Linux
CLONE_NEWUSER = 0x10000000  # unshare(2)
READ, SEARCH = 4, 1

# The servers' environment: no PG… variable and no locale of the caller may change how they behave.
BARE = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# acl(5) as the kernel stores it (linux/posix_acl_xattr.h): a version, then (tag, permissions, id) sorted by tag and id.
ACL = "system.posix_acl_access"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NO_ID = 0xFFFFFFFF


@dataclass(frozen=True)
class Account:
    """A system user that servers run as. masked: our own user, under another number in a namespace."""

    name: str
    uid: int
    gid: int
    masked: bool = False

    def options(self, before_exec: Callable[[], None] | None = None) -> dict[str, Any]:
        """What subprocess.Popen needs to become this user. before_exec: what else to do in the child."""
        if self.masked:
            return {"preexec_fn": partial(_mask, before_exec)}
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "preexec_fn": before_exec}


def server_account() -> Account | None:
    """The account that servers run as; None: our own. For root it is the system user `umbel`, created if absent."""
    if os.geteuid() != 0:
        return None if _has_name(os.geteuid()) else _masked()
    if _is_alone():
        if (masked := _masked()) is None:
            raise StackError(
                "Postgres refuses to run as root, and in this namespace there is no other user to run it as: "
                "start Umbel as that user itself, or let UMBEL_DATABASE_URL name a Postgres"
            )
        return masked
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        entry = _create_user()
    if entry.pw_uid == 0:
        raise StackError(f"user {SERVER_USER!r} is root under another name; Postgres refuses to run as root")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def list_changes(reached: Iterable[Path]) -> list[str]:
    """What root's servers are about to change on this machine, in sentences. reached: the files that they use."""
    if os.geteuid() != 0 or _is_alone():
        return []
    told = []
    try:
        entry = pwd.getpwnam(SERVER_USER)
        account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    except KeyError:
        told.append(
            f"Postgres refuses to run as root: the system user {SERVER_USER!r} is created to run it"
            f" (`userdel {SERVER_USER}` removes it)"
        )
        account = Account(SERVER_USER, NOBODY, NOBODY)  # it owns no folder, nor will the new user
    above = dict.fromkeys(folder for path in reached for folder in reversed(path.resolve().parents) if folder.exists())
    if closed := [str(folder) for folder in above if not _may(account, "-x", folder)]:
        told.append(
            f"user {SERVER_USER!r} is let through {', '.join(closed)} by an ACL for it alone"
            f" (`setfacl --remove user:{SERVER_USER} {closed[0]}` takes that back)"
        )
    return told


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _is_alone() -> bool:
    """Whether no other user exists in our namespace, as after `unshare -r`."""
    try:
        lengths = [int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:  # not Linux
        return False
    return lengths == [1]


@cache
def _masked() -> Account | None:
    """Ourselves as `nobody`; None where the system lets us make no namespace."""
    account = Account("nobody", os.geteuid(), os.getegid(), masked=True)
    try:
        subprocess.run(["/bin/sh", "-c", "exit 0"], check=True, **account.options())
    except (OSError, subprocess.SubprocessError):
        return None
    return account


def _mask(before_exec: Callable[[], None] | None) -> None:
    """Enter a new user namespace, in the child, where we are `nobody`. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        Path("/proc/self", name).write_text(text)
    if before_exec:
        before_exec()


def _create_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER]
    reason = "it could not be created"
    for _ in range(20):  # another process may hold the lock of /etc/passwd, perhaps to create this very user
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else reason
        except OSError as error:
            reason = str(error)
        try:
            return pwd.getpwnam(SERVER_USER)
        except KeyError:
            time.sleep(0.1)
    raise StackError(
        f"Postgres refuses to run as root and there is no user {SERVER_USER!r} to run it as ({reason}): "
        f"start Umbel as another user, or create that one with `{' '.join(command)}`"
    )


@contextmanager
def writing_below(home: Path) -> Iterator[None]:
    """Raise an OSError as a StackError of one line that names the folder and the setting."""
    try:
        yield
    except OSError as error:
        not_a_folder = isinstance(error, FileExistsError | NotADirectoryError)
        raise StackError(
            f"cannot write to {error.filename or home} ({'not a folder' if not_a_folder else error.strerror}): "
            f"let UMBEL_HOME (now {home}) name a folder that you can write to"
        ) from error


def private_folder(path: Path, account: Account | None) -> None:
    """Make sure that `path` is a folder which only its owner may enter, and that the owner is the servers' user.

    Raises StackError if it is a link or another user's: in /tmp any user could have put it there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    owner = account.uid if account else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
        raise StackError(
            f"{path} belongs to {_name(found.st_uid)}, not to {_name(owner)} which the servers run as: "
            "remove it, give it to that user, or set another UMBEL_HOME"
        )
    if account and found.st_uid != account.uid:
        os.chown(path, account.uid, account.gid)
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
    let_through(path, account)


def let_through(path: Path, account: Account | None) -> None:
    """Let the account pass through every folder above `path`. Raises StackError where no ACL can be set."""
    if account is None or _may(account, "-x", path.resolve().parent):
        return
    for folder in reversed(path.resolve().parents):
        if not _may(account, "-x", folder):
            grant(folder, account, SEARCH)


def let_read(tree: Path, account: Account) -> None:
    """Let the account read every file below `tree`, and run those that are programs."""
    for path in (tree, *tree.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or mode & stat.S_IXUSR:
            grant(path, account, READ | SEARCH)
        elif stat.S_ISREG(mode):
            grant(path, account, READ)


def grant(path: Path, account: Account, permissions: int) -> None:
    """Add `permissions` on `path` for this one user to its ACL; other users' effective permissions stay."""
    try:
        acl = _read_acl(path)
        mask = acl.pop((MASK, NO_ID), 7)
        shared = {key: value & mask for key, value in acl.items() if key[0] in (USER, GROUP_OBJ, GROUP)}
        shared[USER, account.uid] = shared.get((USER, account.uid), 0) | permissions
        acl |= shared
        acl[MASK, NO_ID] = reduce(or_, shared.values())
        packed = b"".join(struct.pack("<HHI", tag, value, id_) for (tag, id_), value in sorted(acl.items()))
        os.setxattr(path, ACL, struct.pack("<I", 2) + packed)
    except (OSError, AttributeError) as error:  # AttributeError: no os.setxattr, so not Linux
        letters = "+rx" if permissions & READ else "+x"
        raise StackError(
            f"user {account.name!r}, who runs the servers for root, cannot reach {path} nor be let in ({error}): "
            f"run `chmod o{letters} {path}`, or start Umbel as another user"
        ) from error


def _read_acl(path: Path) -> dict[tuple[int, int], int]:
    """(tag, id) → permissions; a file without an ACL has its mode as one."""
    try:
        raw = os.getxattr(path, ACL)
    except OSError:
        mode = path.stat().st_mode
        return {(USER_OBJ, NO_ID): mode >> 6 & 7, (GROUP_OBJ, NO_ID): mode >> 3 & 7, (OTHER, NO_ID): mode & 7}
    return {(tag, id_): value for tag, value, id_ in struct.iter_unpack("<HHI", raw[4:])}


def _may(account: Account, test: str, path: Path) -> bool:
    """The kernel's answer to `test`, run as that user: mode bits, groups, ACLs and odd file systems all count."""
    return run_as(account, ["/bin/sh", "-c", 'test "$1" "$2"', "sh", test, str(path)]).returncode == 0


def run_as(account: Account | None, command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a short command as the servers' user, out of reach of a terminal's Ctrl-C. Raises StackError if it cannot."""
    become = account.options() if account else {}
    become |= {"cwd": "/", "env": BARE, "stdin": subprocess.DEVNULL, "start_new_session": True}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, **become)
    except OSError as error:
        as_whom = f" as user {account.name!r}" if account else ""
        raise StackError(f"cannot run {command[0]}{as_whom}: {error.strerror}") from error


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"user id {uid}"
