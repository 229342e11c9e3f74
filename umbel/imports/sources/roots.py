"""Where imports may read on the server: only below what the operator has named."""

import os
from collections.abc import Sequence

from umbel.base.errors import SourceError
from umbel.imports.sources.names import unsafe


def is_bucket(path: str) -> bool:
    return path.startswith("s3://")


def folder_below_root(path: str, roots: Sequence[str]) -> tuple[str, list[str]]:
    """The root that a folder lies below, and the parts of the path from there, all links resolved.

    The answer is only good for walking down from the root without following links: a part of the path may be
    replaced by one at any time. Raises SourceError, which says nothing about what lies outside the roots.
    """
    if not os.path.isabs(path) or "\0" in path or ".." in path.split("/"):
        raise SourceError("The folder must be an absolute path without .. parts.")
    real = os.path.realpath(path)
    for root in roots:
        real_root = os.path.realpath(root)
        if not is_bucket(root) and os.path.commonpath([real, real_root]) == real_root:
            return real_root, [part for part in os.path.relpath(real, real_root).split("/") if part != "."]
    raise SourceError(f"The folder is not below an import root of this server (UMBEL_IMPORT_ROOTS): {path!r}.")


def bucket_below_root(url: str, roots: Sequence[str]) -> tuple[str, str]:
    """Bucket and prefix (no slash at either end) of an s3:// URL. Raises SourceError."""
    bucket, prefix = _bucket_and_prefix(url)
    if not is_bucket(url) or not bucket or (prefix and unsafe(prefix)):
        raise SourceError("The source must be a URL such as s3://bucket/prefix, without empty, . or .. parts.")
    for root in filter(is_bucket, roots):
        root_bucket, root_prefix = _bucket_and_prefix(root)
        if bucket == root_bucket and f"{prefix}/".startswith(f"{root_prefix}/" if root_prefix else ""):
            return bucket, prefix
    raise SourceError(f"The URL is not below an import root of this server (UMBEL_IMPORT_ROOTS): {url!r}.")


def _bucket_and_prefix(url: str) -> tuple[str, str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")
