"""What the fuzzer needs to know beyond the specification: what pictures look like, and which requests are only slow.

Loaded by schemathesis through SCHEMATHESIS_HOOKS.
"""

from base64 import b64encode

import schemathesis
from hypothesis import strategies as st

from tests.images import image_bytes

IMAGES = [image_bytes(seed) for seed in range(8)]
DAMAGED = [b"", b"\xff\xd8\xff\xe0 and no more", IMAGES[0][:200], b"GIF89a" + bytes(20)]

schemathesis.openapi.format("binary", st.one_of(st.sampled_from(IMAGES + DAMAGED), st.binary(max_size=64)))
schemathesis.openapi.format("byte", st.sampled_from([b64encode(data).decode() for data in IMAGES + DAMAGED]))


@schemathesis.hook
def filter_query(context: object, query: dict[str, object] | None) -> bool:
    """Long waits are answered truly, and late."""
    wait = (query or {}).get("wait")
    return not isinstance(wait, int | float) or wait < 0.2
