"""The embedded database for a command that needs it, whether the stack runs or not."""

from collections.abc import Iterator
from contextlib import contextmanager

from stack.postgres import Postgres
from stack.state import AlreadyRunning, only_supervisor
from umbel.base.database import engine
from umbel.base.errors import StackError
from umbel.base.settings import Settings


@contextmanager
def embedded_database(settings: Settings, *, alone: bool = False) -> Iterator[None]:
    """Start the embedded Postgres for as long as this lasts, unless it runs or the settings name another one.

    alone: raise StackError if the stack runs.
    """
    server = Postgres(settings.home, settings.socket_dir)
    if settings.database_url is not None:
        yield
    elif server.is_ready():
        if alone:
            raise StackError(f"the stack in {settings.home} is running: `umbel down` first")
        yield
    else:
        with _supervised(settings):
            server.start()
            try:
                yield
            finally:
                engine().dispose()
                server.stop()


@contextmanager
def _supervised(settings: Settings) -> Iterator[None]:
    try:
        with only_supervisor(settings.home):
            yield
    except AlreadyRunning as error:
        raise StackError(f"the stack in {settings.home} is just starting or stopping: try again") from error
