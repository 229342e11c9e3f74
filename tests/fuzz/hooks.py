"""What the fuzzer needs to know beyond the specification: what pictures look like, and which requests are only slow.

Loaded by schemathesis through SCHEMATHESIS_HOOKS.
"""

from base64 import b64encode

import schemathesis
from hypothesis import strategies as st

from tests.pictures import picture

PICTURES = [picture(seed) for seed in range(8)]
DAMAGED = [b"", b"\xff\xd8\xff\xe0 and no more", PICTURES[0][:200], b"GIF89a" + bytes(20)]

schemathesis.openapi.format("binary", st.one_of(st.sampled_from(PICTURES + DAMAGED), st.binary(max_size=64)))
schemathesis.openapi.format("byte", st.sampled_from([b64encode(data).decode() for data in PICTURES + DAMAGED]))


@schemathesis.hook
def filter_query(context: object, query: dict[str, object] | None) -> bool:
    """Long waits are answered truly, and late."""
    wait = (query or {}).get("wait")
    return not isinstance(wait, int | float) or wait < 0.2
