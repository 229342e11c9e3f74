"""Requests to any route, with any key."""

import re
from datetime import timedelta
from typing import Any

from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from umbel.access.keys import KeyScope, create_key
from umbel.base.database import transaction

OURS = "ours"
IDS = ("image_id", "job_id", "version_id", "webhook_id", "delivery_id", "key_id", "sync_id")
UNUSED_ID = "019a0000-0000-7000-8000-000000000000"  # of nothing


def make_key(scope: KeyScope, *collections: str, name: str = "test", lasts: timedelta | None = None) -> str:
    with transaction() as session:
        return create_key(session, name=name, scope=scope, collections=collections, lasts=lasts, actor="test")[0]


def rule_of(app: Flask, endpoint: str) -> tuple[str, Rule]:
    rule = next(rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint)
    assert rule.methods is not None
    [method] = rule.methods - {"HEAD", "OPTIONS"}
    return method, rule


def call(
    app: Flask, endpoint: str, key: str | None = None, *, at: dict[str, str] | None = None, **options: Any
) -> TestResponse:
    method, rule = rule_of(app, endpoint)
    arguments = at or {"name": OURS, "image_id": UNUSED_ID, "job_id": UNUSED_ID, "version_id": UNUSED_ID}
    arguments = {
        "webhook_id": UNUSED_ID,
        "delivery_id": UNUSED_ID,
        "key_id": UNUSED_ID,
        "sync_id": UNUSED_ID,
    } | arguments
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: arguments[match[1]], rule.rule)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return app.test_client().open(path, method=method, headers=headers, **options)


def assert_rejected(answer: TestResponse, status: int, code: str) -> None:
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    assert answer.get_json()["code"] == code
