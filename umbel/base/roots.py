"""Import roots: where the server may read, in folders and buckets, and how paths below them are written down."""

import os
from collections.abc import Sequence
from urllib.parse import quote, unquote

from umbel.base.errors import SourceError


def unsafe(name: str) -> str | None:
    """Why the path must not be followed inside a folder or bucket; None: it is safe."""
    if not name or "\0" in name:
        return "is empty or contains a NUL character"
    if name.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has empty, . or .. parts"
    return None


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
