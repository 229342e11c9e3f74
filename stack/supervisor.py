"""`umbel up`: the servers, then the schema, then Umbel's own processes, each kept running until told to stop."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import psutil  # type: ignore[import-untyped]

from stack.binaries import postgres_programs, redis_server
from stack.postgres import Postgres
from stack.process import Program, end_processes
from stack.redis import Redis
from stack.server_user import list_changes
from stack.services import Service, app_programs, check_port, take_down
from stack.state import ServiceStatus, StackStatus, created, find_process, only_supervisor, read_state, url, write_state
from umbel.base.errors import StackError, UmbelError
from umbel.base.settings import Settings

TICK = 0.2  # seconds between two checks of the processes
WARM_SECONDS = 20  # for Umbel's processes that outlived their supervisor
DEBOUNCE = 0.3  # seconds within which a second signal counts as the first


def upgrade_schema(database_url: str) -> None:
    """Bring the schema up to date. Imported late: only the supervisor needs the migrations, not its helpers."""
    from umbel.base.schema import upgrade  # noqa: PLC0415

    upgrade(database_url)


class StopRequested(Exception):
    """A signal has asked the stack to stop."""


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP: the first asks to stop, the second to hurry."""

    def __init__(self) -> None:
        self.stop = False
        self.hurry = False
        self.interrupt = False  # whether the first raises StopRequested in the main thread, during what may take long
        self._first = 0.0
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self.stop:
            self.hurry = self.hurry or time.monotonic() - self._first > DEBOUNCE
            return
        self.stop = True
        self._first = time.monotonic()
        if self.interrupt:
            raise StopRequested


class Supervisor:
    """The stack in the foreground.

    programs: Umbel's own processes. migrate: brings the database of that URL up to date. report: called with a
    sentence when something happens.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        programs: Sequence[Program] | None = None,
        migrate: Callable[[str], None] = upgrade_schema,
        report: Callable[[str], None] = print,
        durable: bool = True,
    ) -> None:
        self.settings = settings
        self._migrate = migrate
        self._print = report
        self._signals = StopSignals()
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._created = created(os.getpid())
        self._published: StackStatus | None = None
        self._programs = programs
        self._durable = durable
        self._servers: list[Service] = []
        self._apps: list[Service] = []
        self._active: list[Service] = []

    def run(self) -> None:
        """Start everything and keep it running until a signal. No process started here outlives this call.

        Raises AlreadyRunning, or StackError with what keeps the stack from running.
        """
        with only_supervisor(self.settings.home), self._signals:
            error: str | None = None
            try:
                # With the services of the previous supervisor: if this one is killed too, the next clears them up.
                write_state(self.settings, replace(self.status(), services=read_state(self.settings).services))
                self._start()
                while True:
                    self._tick()
            except StopRequested:
                pass
            except UmbelError as failure:
                error = failure.detail
                raise
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
                raise
            finally:
                self._stop(error)

    def status(self) -> StackStatus:
        """The current state, as stack.json has it."""
        services = tuple(service.status() for service in (*self._servers, *self._apps))
        return StackStatus(
            home=str(self.settings.home),
            url=url(self.settings),
            port=self.settings.port,
            running=True,
            ready=bool(services) and all(service.state == "ready" for service in services),
            pid=os.getpid(),
            created=self._created,
            started_at=self._started_at,
            services=services,
        )

    def _report(self, text: str) -> None:
        with suppress(OSError):  # a terminal that is gone or a full disk must not end the supervision
            self._print(text)

    def _start(self) -> None:
        self.settings.refuse_to_be_open()
        clear_leftovers(self.settings)
        check_port(self.settings)
        for change in changes_ahead(self.settings):
            self._report(change)
        postgres = Postgres(self.settings.home, self.settings.socket_dir, durable=self._durable)
        redis = Redis(self.settings.home, self.settings.socket_dir)
        self._servers = [] if self.settings.database_url else [self._service(postgres.program())]
        self._servers += [] if self.settings.redis_url else [self._service(redis.program())]
        self._apps = [self._service(program) for program in self._programs or app_programs(self.settings)]
        self._until_ready(self._servers)
        self._prepare_database(None if self.settings.database_url else postgres)
        self._until_ready(self._apps)
        self._report(f"Umbel is ready: {url(self.settings)}")

    def _prepare_database(self, embedded: Postgres | None) -> None:
        self._signals.interrupt = True
        try:
            if embedded:
                embedded.ensure_database()
            self._migrate(self.settings.direct_database)
        except (UmbelError, StopRequested):
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise StackError(f"cannot prepare the database: {reason}") from error
        finally:
            self._signals.interrupt = False

    def _service(self, program: Program) -> Service:
        return Service(program, self.settings.home / "logs", self._report)

    def _until_ready(self, services: list[Service]) -> None:
        self._active += services
        while not all(service.state == "ready" for service in services):
            self._tick()

    def _tick(self) -> None:
        """Check every service that should be running, once."""
        if self._signals.stop:
            raise StopRequested
        for service in self._active:
            service.tick()
        self._publish()
        time.sleep(TICK)

    def _publish(self) -> None:
        now = self.status()
        if now != self._published:
            self._published = now
            write_state(self.settings, now)

    def _stop(self, error: str | None) -> None:
        """Umbel's processes first, so that they can still finish what they do; Postgres last."""
        if self._signals.stop:
            self._report("Stopping (Ctrl-C once more to hurry)")
        order = [self._apps, *([service] for service in reversed(self._servers))]
        for services in order:
            take_down(services, lambda: self._signals.hurry)
        write_state(self.settings, replace(self.status(), running=False, ready=False, services=(), error=error))


def changes_ahead(settings: Settings) -> list[str]:
    """What a stack that root starts is about to change outside of its home, in sentences."""
    postgres = [] if settings.database_url else [settings.home / "postgres", settings.socket_dir, postgres_programs()]
    redis = [] if settings.redis_url else [settings.home / "redis", settings.socket_dir, redis_server()]
    return list_changes([*postgres, *redis])


def clear_leftovers(settings: Settings) -> bool:
    """End what a killed supervisor left running. Call it with the lock held. Returns whether there was anything."""
    left = [process for service in read_state(settings).services for process in _apps_left(service)]
    end_processes(left, signal.SIGTERM, WARM_SECONDS)
    redis_left = Redis(settings.home, settings.socket_dir).clear_leftovers()
    postgres_left = Postgres(settings.home, settings.socket_dir).clear_leftovers()
    return bool(left) or redis_left or postgres_left


def _apps_left(service: ServiceStatus) -> list[psutil.Process]:
    """The service's process, if it still is that one, and what it forked: same session, same command line.

    The servers end their own children and are looked for by their data folder.
    """
    if service.pid is None or service.name in ("postgres", "redis"):
        return []
    leader = find_process(service.pid, service.created)
    found = [leader] if leader else []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            forked = process.pid != service.pid and os.getsid(process.pid) == service.pid
            if forked and tuple(process.cmdline()) == service.command:
                found.append(process)
    return found
