"""Paths in archives: which are safe, and which are archives themselves."""

import re

ARCHIVES = (
    *(".zip", ".7z", ".rar", ".cab", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"),
    *(".gz", ".bz2", ".xz", ".zst", ".lz", ".lz4", ".lzma"),
)
ARCHIVE_MAGIC = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf",
    b"Rar!",
    b"(\xb5/\xfd",
)

_DRIVE = re.compile(r"[A-Za-z]:")


def unsafe_in_archive(name: str) -> str | None:
    """Why the path leads out of the archive, on Unix or on Windows; None: it stays inside.

    Nothing is ever written to such a path, so a backslash in a name of Unix or a part that is empty is as good as any.
    """
    path = name.replace("\\", "/")
    if not path.strip("./") or "\0" in path:
        return "is empty or contains a NUL character"
    if path.startswith("/"):
        return "is absolute"
    if _DRIVE.match(path):
        return "begins with a drive"
    return "has .. parts" if ".." in path.split("/") else None


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def starts_as_archive(data: bytes) -> bool:
    return data.startswith(ARCHIVE_MAGIC) or data[257:262] == b"ustar"
