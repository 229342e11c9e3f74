"""API keys as text: made, recognised, and turned into what is stored of them. Knows no database."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

KEY = re.compile(r"umbel_([0-9a-f]{12})_[0-9a-f]{64}")  # of one shape, so that scanners for leaked secrets find them


class KeyScope(StrEnum):
    """What a key is good for; each includes the ones before it."""

    READ = "read"  # look, search
    WRITE = "write"  # add, change and remove pictures
    ADMIN = "admin"  # models, quotas, collections removed, the audit log

    def includes(self, other: "KeyScope") -> bool:
        order = list(KeyScope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that nobody has seen yet. text: shown once; prefix: names the key for ever; sha256: what is stored."""

    text: str
    prefix: str
    sha256: bytes


def new_key() -> NewKey:
    """A key of 256 random bits."""
    prefix = secrets.token_hex(6)
    text = f"umbel_{prefix}_{secrets.token_hex(32)}"
    return NewKey(text, prefix, digest(text))


def prefix_of(text: str) -> str | None:
    """The public part of a key; None if it is no key at all."""
    match = KEY.fullmatch(text)
    return match and match[1]


def digest(text: str) -> bytes:
    """What is stored of a secret. A plain hash is enough for 256 random bits: there is nothing to guess."""
    return hashlib.sha256(text.encode()).digest()


def is_secret_of(text: str, stored: bytes) -> bool:
    """Whether `stored` is the digest of `text`, in a time that does not depend on where they differ."""
    return hmac.compare_digest(digest(text), stored)
