"""A hash that is equal exactly when two JSON values are."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(value: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of `value`, hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
