"""Paths of a source: where imports may read, which paths are safe, and which are those of archives."""

import os
import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from umbel.base.errors import SourceError

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


def unsafe(name: str) -> str | None:
    """Why the path must not be followed inside a folder or bucket; None: it is safe."""
    if not name or "\0" in name:
        return "is empty or contains a NUL character"
    if name.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has empty, . or .. parts"
    return None


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


def quoted(path: str) -> str:
    """The path as ASCII, even if its bytes are not UTF-8. `unquoted` is the inverse."""
    return quote(path, errors="surrogateescape")


def unquoted(locator: str) -> str:
    return unquote(locator, errors="surrogateescape")


def is_bucket(path: str) -> bool:
    return path.startswith("s3://")


def folder_below_root(path: str, roots: Sequence[str]) -> tuple[str, list[str]]:
    """The import root above a folder, and the parts of the path below the root, with all links resolved.

    A caller must walk down from the root without following links, since any part of the path can be replaced by a link
    at any time. Raises SourceError, which tells nothing about what lies outside the roots.
    """
    if not os.path.isabs(path) or "\0" in path or ".." in path.split("/"):
        raise SourceError("The folder must be an absolute path without .. parts.")
    if found := below_root(os.path.realpath(path), roots):
        return found
    raise SourceError(f"The folder is not below an import root of this server (UMBEL_IMPORT_ROOTS): {path!r}.")


def below_root(real: str, roots: Sequence[str]) -> tuple[str, list[str]] | None:
    """The import root above a real path, and the parts of the path below it; None outside of all roots."""
    for root in roots:
        real_root = os.path.realpath(root)
        if not is_bucket(root) and os.path.commonpath([real, real_root]) == real_root:
            return real_root, [part for part in os.path.relpath(real, real_root).split("/") if part != "."]
    return None


def is_below(path: str, roots: Sequence[str]) -> bool:
    """Whether a folder or an s3:// URL lies below one of `roots`, or is one, with all links resolved."""
    if is_bucket(path):
        return _bucket_is_below(*_bucket_and_prefix(path), roots)
    return os.path.isabs(path) and "\0" not in path and below_root(os.path.realpath(path), roots) is not None


def narrowed(roots: Sequence[str], granted: Sequence[str] | None) -> tuple[str, ...]:
    """What is left of import roots for one who may read below `granted` only; None: all."""
    if granted is None:
        return tuple(roots)
    below = [each for each in granted if is_below(each, roots)]
    return tuple(dict.fromkeys([*below, *(root for root in roots if is_below(root, granted))]))


def bucket_below_root(url: str, roots: Sequence[str]) -> tuple[str, str]:
    """Bucket and prefix (no slash at either end) of an s3:// URL. Raises SourceError."""
    bucket, prefix = _bucket_and_prefix(url)
    if not is_bucket(url) or not bucket or (prefix and unsafe(prefix)):
        raise SourceError("The source must be a URL such as s3://bucket/prefix, without empty, . or .. parts.")
    if _bucket_is_below(bucket, prefix, roots):
        return bucket, prefix
    raise SourceError(f"The URL is not below an import root of this server (UMBEL_IMPORT_ROOTS): {url!r}.")


def _bucket_is_below(bucket: str, prefix: str, roots: Sequence[str]) -> bool:
    for root_bucket, root_prefix in map(_bucket_and_prefix, filter(is_bucket, roots)):
        if bucket == root_bucket and f"{prefix}/".startswith(f"{root_prefix}/" if root_prefix else ""):
            return True
    return False


def _bucket_and_prefix(url: str) -> tuple[str, str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")
