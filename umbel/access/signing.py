"""Signed URLs: who has one sees the one picture that it names until it expires, without a key.

They are signed with what is stored of the key that asked for them. So they end with that key, when it is revoked,
expires or loses the collection; a new key signs anew, and nothing else has to be kept or rotated.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from secrets import token_bytes

from sqlalchemy.orm import Session

from umbel.access import keys
from umbel.base.errors import BadSignature, Unauthenticated
from umbel.base.tables import ApiKey

LONGEST_SECONDS = 7 * 24 * 3600
PREFIX = re.compile("[0-9a-f]{12}")
PURPOSE = b"umbel signed URL 1"  # so that nothing else signed with a key is ever taken for a URL


def sign(secret: bytes, subject: str, expires: int) -> str:
    """The signature of a subject that may be seen until `expires` (Unix time); 43 characters that URLs may hold."""
    signed = hmac.digest(hmac.digest(secret, PURPOSE, "sha256"), f"{subject} {expires}".encode(), "sha256")
    return urlsafe_b64encode(signed).rstrip(b"=").decode()


def check_signature(secret: bytes, subject: str, expires: int, signature: str, *, now: float) -> None:
    """Raises BadSignature for another signature, and for one that has expired or would last too long."""
    if not hmac.compare_digest(sign(secret, subject, expires).encode(), signature.encode()):
        raise BadSignature("The signature does not belong to this URL.")
    if expires <= now:
        raise BadSignature("The signed URL has expired.")
    if expires > now + LONGEST_SECONDS + 60:  # a minute for clocks that differ
        raise BadSignature("The signed URL would last too long.")


def find_signer(session: Session, prefix: str, subject: str, expires: int, signature: str, *, now: float) -> ApiKey:
    """The key with this public part, which has signed the subject and is still valid. Raises BadSignature."""
    row = keys.find_key(session, prefix) if PREFIX.fullmatch(prefix) else None
    # For an unknown key too, so that neither the time nor the answer tells which public parts exist.
    check_signature(row.sha256 if row else token_bytes(32), subject, expires, signature, now=now)
    assert row is not None
    try:
        return keys.check_valid(session, row)
    except Unauthenticated as error:
        raise BadSignature("The key that signed this URL is no longer valid.") from error
