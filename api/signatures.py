"""Signed URLs of pictures: made for callers who may see them, and let in without a key."""

import time
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, current_app, g, request

from api.caller import ANONYMOUS, Caller, caller, caller_of
from api.fields import link_to
from umbel.access import keys, signing
from umbel.base.database import transaction

PARTS = {"images.get_file": "file", "images.get_thumbnail": "thumbnail"}
NO_KEY = "anonymous"  # signs where no keys are required, and holds only there
LATEST = 10**11  # Unix time
# Pages of other sites may show and read what a signed URL gives: the URL alone says who may.
FOR_OTHER_SITES = {"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*"}
PARAMETERS: list[Any] = [
    {"name": name, "in": "query", "required": False, "description": f"Of a signed URL: {what}.", "schema": schema}
    for name, what, schema in (
        ("expires", "until when it holds, Unix time", {"type": "integer"}),
        ("key", "the public part of the key that signed it", {"type": "string"}),
        ("signature", "what it was signed with; no key is needed then", {"type": "string"}),
    )
]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs URLs. key: the public part of the key that it does so with; secret: what is stored of it."""

    key: str
    secret: bytes

    @classmethod
    def of_caller(cls) -> Self:
        """The one of the present caller."""
        if (key_id := caller().key_id) is None:
            return cls(NO_KEY, NO_KEY.encode())
        with transaction() as session:
            row = keys.get_key(session, key_id)
            return cls(row.prefix, row.sha256)

    def url(self, image_id: UUID, part: str, expires: int) -> str:
        """The absolute URL of a part of an image, to be seen until `expires`."""
        signature = signing.sign(self.secret, f"{image_id}/{part}", expires)
        query = urlencode({"expires": expires, "key": self.key, "signature": signature})
        return f"{request.host_url.rstrip('/')}{link_to(f'/v1/images/{image_id}/{part}')}?{query}"


def is_signed() -> bool:
    """Whether the present request is for a picture, by a signed URL."""
    return request.endpoint in PARTS and "signature" in request.args


def admit() -> Caller:
    """The caller of a signed URL: the key that signed it. Raises BadSignature."""
    text, image_id = request.args.get("expires", ""), (request.view_args or {})["image_id"]
    expires = int(text) if text.isascii() and text.isdigit() and len(text) < len(str(LATEST)) else 0
    subject = f"{image_id}/{PARTS[request.endpoint or '']}"
    key, who = request.args.get("key", ""), ANONYMOUS
    signed: tuple[str, int, str] = (subject, expires, request.args["signature"])
    if key == NO_KEY and not current_app.config["REQUIRE_KEYS"]:
        signing.check_signature(NO_KEY.encode(), *signed, now=time.time())
    else:
        with transaction() as session:
            signer = caller_of(signing.find_signer(session, key, *signed, now=time.time()))
        who = replace(signer, key_id=None)  # rate-limited by address, since anybody may hold the URL
    g.caller, g.signed_until = who, expires
    return who


def open_to_others(response: Response, *, replaceable: bool) -> None:
    """Let the answer to a signed URL be shown by other sites, and kept by any cache for as long as the URL holds.

    replaceable: the picture may be replaced, so that caches have to ask again.
    """
    if (until := g.get("signed_until")) is not None:
        response.headers.update(FOR_OTHER_SITES)
        for_long = f"public, max-age={max(0, int(until - time.time()))}, immutable"
        response.headers["Cache-Control"] = "public, no-cache" if replaceable else for_long
