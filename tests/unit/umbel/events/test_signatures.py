"""Signatures of webhooks: the published example, and that the client takes what the service signs and nothing else."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from umbel_client import verify_webhook
from umbel_client.errors import BadSignature

from umbel.events.signatures import new_secret, signed_headers

# Of the reference implementations, such as https://github.com/svix/svix-webhooks (python/tests/test_webhooks.py).
EXAMPLE = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "message_id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "timestamp": 1614265330,
    "body": b'{"test": 2432232314}',
}
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example_is_signed_as_published() -> None:
    headers = signed_headers(**EXAMPLE)  # type: ignore[arg-type]
    assert headers["webhook-signature"] == SIGNATURE
    age = time.time() - 1614265330
    assert verify_webhook(b'{"test": 2432232314}', headers, str(EXAMPLE["secret"]), tolerance=age + 60) == {
        "test": 2432232314
    }


@given(st.dictionaries(st.text(), st.integers()))
def test_what_is_signed_is_taken(event: dict[str, Any]) -> None:
    secret, body = new_secret(), json.dumps(event).encode()
    headers = signed_headers(secret, "id", int(time.time()), body)
    assert verify_webhook(body, {name.title(): value for name, value in headers.items()}, secret) == event
    rotated = {**headers, "webhook-signature": f"v1,AAAA v2,x {headers['webhook-signature']}"}
    assert verify_webhook(body, rotated, secret) == event


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-timestamp": str(int(time.time()) - 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "1"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": ""},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
    ],
)
def test_what_was_changed_is_not(change: dict[str, str]) -> None:
    secret, body = new_secret(), b"{}"
    headers = signed_headers(secret, "id", int(time.time()), body)
    with pytest.raises(BadSignature):
        verify_webhook(body, headers | change, secret)
    with pytest.raises(BadSignature):
        verify_webhook(b"{ }", headers, secret)
    with pytest.raises(BadSignature):
        verify_webhook(body, headers, new_secret())
