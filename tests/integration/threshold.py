"""Searches through the index in galleries that are small enough for a test."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.database import transaction

USUAL = 10_000


def scan_up_to(session: Session, images: int) -> None:
    """Let at most so many candidates be scanned exactly, from this transaction on."""
    kind = "RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE"
    session.execute(text(f"CREATE OR REPLACE FUNCTION public.exact_up_to() {kind} AS 'SELECT {images}'"))


@contextmanager
def scanned_up_to(images: int) -> Iterator[None]:
    """The same for everybody, until it is left."""
    with transaction() as session:
        scan_up_to(session, images)
    yield
    with transaction() as session:
        scan_up_to(session, USUAL)
