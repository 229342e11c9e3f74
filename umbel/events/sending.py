"""The request that brings an event to a webhook: to public addresses only, without redirects, within a time."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpcore
import httpx

from umbel.base.errors import AddressRefused, Unreachable, Unreadable
from umbel.base.outbound import FAILURES, PinnedNetwork, url_fault, usual_tls
from umbel.events.log import Event
from umbel.events.signatures import signed_headers

GONE = 410
# The receiver as a whole cannot take anything now; what else it answers concerns the one event.
UNWELL = (408, 425, 429)
MOST_READ = 2**16  # bytes of an answer, which tell nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """How a receiver took an event. status: None if there was no answer; error: None if it took it.

    unwell: other events need not be tried now.
    """

    status: int | None
    error: str | None = None
    unwell: bool = False


def send(url: str, secret: str, event: Event, *, seconds: float, private: Sequence[str]) -> Answer:
    """Bring an event to a URL, in `seconds` at most. private: as the setting `private_hosts`. Raises nothing."""
    if fault := url_fault(url):
        return Answer(None, f"The URL {fault}.", unwell=True)
    body = json.dumps(event.body, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "umbel",
        **signed_headers(secret, str(event.id), int(time.time()), body),
    }
    parsed = httpx.URL(url)
    target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    network = PinnedNetwork(seconds, private=private)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=usual_tls(), network_backend=network) as pool,
            pool.stream("POST", target, headers=list(headers.items()), content=body) as response,
        ):
            return _answer(response)
    except (AddressRefused, Unreachable, Unreadable) as error:
        return Answer(None, error.detail, unwell=True)
    except FAILURES as error:
        late = isinstance(error, httpcore.TimeoutException)
        reason = f"no answer in {seconds:g} s" if late else str(error) or type(error).__name__
        return Answer(None, f"The receiver cannot be reached: {reason}.", unwell=True)


def _answer(response: httpcore.Response) -> Answer:
    status, read = response.status, 0
    for chunk in response.iter_stream():  # to its end, so that no receiver sees its answer cut off
        read += len(chunk)
        if read > MOST_READ:
            break
    if 200 <= status < 300:
        return Answer(status)
    if 300 <= status < 400:
        return Answer(status, f"The receiver answered {status}, and redirects are not followed.")
    return Answer(status, f"The receiver answered {status}.", unwell=status in UNWELL or status >= 500)
