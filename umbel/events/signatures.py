"""Signatures of webhooks, as Standard Webhooks specify them.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
import secrets
from base64 import b64decode, b64encode
from hashlib import sha256

PREFIX = "whsec_"


def new_secret() -> str:
    """256 random bits, as text."""
    return PREFIX + b64encode(secrets.token_bytes(32)).decode()


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that go with a message. timestamp: seconds since 1970, of this attempt."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    code = hmac.digest(b64decode(secret.removeprefix(PREFIX)), signed, sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{b64encode(code).decode()}",
    }
