"""/v1/images:sign: URLs of pictures that need no key, for a while."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from api import audit
from api.access import reach
from api.errors import problems
from api.fields import Strict
from api.signatures import Signer
from umbel.access.signing import LONGEST_SECONDS
from umbel.base.database import transaction
from umbel.gallery import images

bp = APIBlueprint("signed_urls", __name__, tag="Images")

MOST_SIGNED = 1_000


class SignIn(Strict):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"image_ids": ["019b2f6e-0000-7000-8000-000000000000"], "expires_in": 3600}]}
    )

    image_ids: list[UUID] = Field(min_length=1, max_length=MOST_SIGNED)
    expires_in: int = Field(3600, ge=1, le=LONGEST_SECONDS, description="Seconds that the URLs hold; a week at most.")


class SignedOut(BaseModel):
    image_id: UUID
    file: str = Field(examples=["https://umbel.example/v1/images/…/file?expires=1800000000&key=…&signature=…"])
    thumbnail: str = Field(
        examples=["https://umbel.example/v1/images/…/thumbnail?expires=1800000000&key=…&signature=…"]
    )


class SignedUrlsOut(BaseModel):
    items: list[SignedOut] = Field(description="In the order of `image_ids`.")
    expires_at: datetime


@bp.post("/v1/images:sign")
@bp.input(SignIn, arg_name="body")
@bp.output(SignedUrlsOut)
@bp.doc(responses=problems(404))
def sign_images(body: SignIn) -> Any:
    """Make URLs of pictures and thumbnails that need no key until they expire, for `<img>` on other sites, say.

    Each shows one picture of one image and nothing else. They end early when the key that asked for them is revoked or
    expires, and when the image is deleted.
    """
    with transaction() as session:
        images.check_images_in(session, body.image_ids, reach())
    expires = int(time.time()) + body.expires_in
    audit.note(image_ids=[str(each) for each in body.image_ids], expires_in=body.expires_in)
    signer = Signer.of_caller()
    items = [
        SignedOut(
            image_id=each, file=signer.url(each, "file", expires), thumbnail=signer.url(each, "thumbnail", expires)
        )
        for each in body.image_ids
    ]
    return SignedUrlsOut(items=items, expires_at=datetime.fromtimestamp(expires, UTC))
