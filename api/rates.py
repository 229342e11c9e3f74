"""Rate limits: requests are counted by key, or by address without one."""

import math

from flask import current_app, g, request
from limits import RateLimitItem

from api.caller import Caller
from api.limiter import limiter
from api.needs import NEEDS, STRICTEST
from umbel.base.errors import InvalidInput, RateLimited

COUNTED = "umbel.counted"  # in the environment of a request that was counted at the door


def check() -> None:
    """Raises RateLimited when the caller has sent too many requests."""
    limit: RateLimitItem | None = current_app.config["RATE_LIMIT"]
    guarded = NEEDS.get(request.endpoint or "static", STRICTEST) is not None
    if limit is None or request.environ.get(COUNTED) or not (guarded or request.method == "POST"):
        return
    _count(limit)


def count_batch(calls: int) -> None:
    """Count the present request, which was counted as one, as so many.

    Raises RateLimited, InvalidInput for more than the limit ever lets through.
    """
    limit: RateLimitItem | None = current_app.config["RATE_LIMIT"]
    if limit is None or calls < 2:
        return
    if calls > limit.amount:
        raise InvalidInput(f"This counts as {calls} requests, and no more than {limit} are let through: send fewer.")
    _count(limit, calls - 1)


def _count(limit: RateLimitItem, calls: int = 1) -> None:
    known: Caller | None = g.get("caller")  # access.check finds the caller where the route needs one
    who = str(known.key_id) if known and known.key_id else request.remote_addr or ""
    wait = limiter().wait_of(limit, who, calls=calls)
    if wait is not None:
        raise RateLimited(f"No more than {limit} from one caller.", retry_after=math.ceil(wait))
