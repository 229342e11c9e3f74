"""What a reconciliation works with, and what it finds: the mismatches of each kind, counted."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from umbel.base.blobs import Blobs
from umbel.base.database import Transaction
from umbel.base.settings import Settings
from umbel.jobs.wakeup import Waker
from umbel.operations import reconciliation_rows
from umbel.operations.reconciliation_rows import FIRST, Page

EXAMPLES = 1_000  # kept of each kind, so that memory stays flat; all are counted
PAGE = 10_000  # rows looked at in one statement

Advance = Callable[[int], None]
Watch = Callable[[str, int | None], AbstractContextManager[Advance]]  # of what is done, and how many there are


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
        """Count what was found, and whether nothing is left of it."""
        for one in found:
            self.found += 1
            self.repaired += repaired
            if len(self.examples) < EXAMPLES:
                self.examples.append(str(one))


@dataclass(frozen=True, slots=True)
class Context:
    """What every check is given. watch: shows how far it is; repair: set right what can be; deep: read all pictures."""

    transaction: Transaction
    blobs: Blobs
    waker: Waker
    settings: Settings
    watch: Watch
    repair: bool = False
    deep: bool = False

    def pages(self, table: Literal["image", "job"], doing: str, *, size: int = PAGE) -> Iterator[Page]:
        """The whole table, some rows after the others, by id: what comes in meanwhile comes at the end."""
        with self.transaction() as session:
            rows = reconciliation_rows.count_rows(session, table)
        with self.watch(doing, rows) as advance:
            page: Page | None = Page(FIRST, FIRST, 0)
            while page:
                with self.transaction() as session:
                    page = reconciliation_rows.find_page(session, table, after=page.last, size=size)
                if page:
                    yield page
                    advance(page.rows)
