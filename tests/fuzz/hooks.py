"""What the fuzzer needs to know beyond the specification: what pictures look like, which requests are only slow, and
what the gallery has, in the file that UMBEL_FUZZ_KNOWN names.

Loaded by schemathesis through SCHEMATHESIS_HOOKS.
"""

import json
import os
import random
from base64 import b64encode
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

from tests.images import image_bytes

IMAGES = [image_bytes(seed) for seed in range(8)]
DAMAGED = [b"", b"\xff\xd8\xff\xe0 and no more", IMAGES[0][:200], b"GIF89a" + bytes(20)]

schemathesis.openapi.format("binary", st.one_of(st.sampled_from(IMAGES + DAMAGED), st.binary(max_size=64)))
schemathesis.openapi.format("byte", st.sampled_from([b64encode(data).decode() for data in IMAGES + DAMAGED]))


KNOWN: dict[str, list[str]] = {"uuid": [], "collection": []}
if "UMBEL_FUZZ_KNOWN" in os.environ:
    KNOWN = json.loads(Path(os.environ["UMBEL_FUZZ_KNOWN"]).read_text())
    ids = st.one_of(st.sampled_from(KNOWN["uuid"]), st.sampled_from(KNOWN["uuid"]), st.uuids().map(str))
    schemathesis.openapi.format("uuid", ids)


def _placed(fields: object) -> object:
    """With the name of a collection that is there, mostly; the same one for the same fields."""
    if KNOWN["collection"] and isinstance(fields, dict):
        for field in ("collection", "name"):
            rng = random.Random(repr(fields))
            if isinstance(fields.get(field), str) and rng.random() < 0.7:
                fields = {**fields, field: rng.choice(KNOWN["collection"])}
    return fields


@schemathesis.hook
def map_query(context: object, query: object) -> object:
    return _placed(query)


@schemathesis.hook
def map_path_parameters(context: object, parameters: object) -> object:
    return _placed(parameters)


@schemathesis.hook
def map_body(context: object, body: object) -> object:
    return _placed(body)


@schemathesis.hook
def filter_query(context: object, query: dict[str, object] | None) -> bool:
    """Long waits are answered truly, and late."""
    wait = (query or {}).get("wait")
    return not isinstance(wait, int | float) or wait < 0.2
