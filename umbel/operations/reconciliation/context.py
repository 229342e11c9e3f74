"""What every check of a reconciliation is given, and what it reports: mismatches of one kind, counted."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.jobs.wakeup import Waker

FIRST = UUID(int=0)
EXAMPLES = 1_000  # of each kind, so that memory stays flat; all are counted
PAGE = 10_000  # rows read in one statement

Advance = Callable[[int], None]
Watch = Callable[[str, int | None], AbstractContextManager[Advance]]  # (what is done, how many there are)


@dataclass(frozen=True, slots=True)
class Page:
    """A range of a table's rows: after < id <= last. rows: their number."""

    after: UUID
    last: UUID
    rows: int

    @property
    def bounds(self) -> dict[str, Any]:
        return {"after": self.after, "last": self.last}


@dataclass(slots=True)
class Mismatches:
    """Of one kind. code: stable; remedy: what a repair does, or a person must where `repairable` is false.

    examples: ids or keys of the first of them.
    """

    code: str
    what: str
    remedy: str
    repairable: bool = True
    found: int = 0
    repaired: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, found: Iterable[object], *, repaired: bool = False) -> None:
        """Count what was found, and whether it was repaired."""
        for one in found:
            self.found += 1
            self.repaired += repaired
            if len(self.examples) < EXAMPLES:
                self.examples.append(str(one))


@dataclass(frozen=True, slots=True)
class Context:
    """What every check is given. watch: shows progress; repair: repair what is possible; deep: read every image."""

    transaction: Transaction
    blobs: Blobs
    waker: Waker
    settings: Settings
    watch: Watch
    repair: bool = False
    deep: bool = False

    def pages(self, table: Literal["image", "job"], doing: str, *, size: int = PAGE) -> Iterator[Page]:
        """The whole table in pages by id; rows inserted meanwhile come last."""
        with self.transaction() as session:
            rows = _count(session, table)
        with self.watch(doing, rows) as advance:
            page: Page | None = Page(FIRST, FIRST, 0)
            while page:
                with self.transaction() as session:
                    page = _find_page(session, table, after=page.last, size=size)
                if page:
                    yield page
                    advance(page.rows)


def _count(session: Session, table: Literal["image", "job"]) -> int:
    """How many rows a table has."""
    return session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def _find_page(session: Session, table: Literal["image", "job"], *, after: UUID, size: int) -> Page | None:
    """The next `size` rows after an id; None at the end."""
    row = session.execute(
        text(f"""
            SELECT id, count(*) OVER () FROM (SELECT id FROM {table} WHERE id > :after ORDER BY id LIMIT :size) page
            ORDER BY id DESC LIMIT 1
        """),
        {"after": after, "size": size},
    ).first()
    return Page(after, *row) if row else None
