"""Runs a schedule: each fault at its time, those that last side by side with the next ones."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from stack.services import answers
from tests.faults.schedule import Fault, Kind
from tests.faults.strikes import STRIKES, healing_begins
from tests.faults.target import NoTarget, Scene
from tests.faults.traffic import Probes
from tests.processes import eventually

# While its supervisor is down the stack is no stack: nothing else strikes until it is up again.
EXCLUSIVE = (Kind.SUPERVISOR, Kind.RESTART, Kind.SEARCHES_WAIT, Kind.BUCKET)
# These ask for what another fault may well prevent: the stack must be ready first, and those that last must be over,
# except for CALM ones.
ALONE = (Kind.SEARCHES_WAIT, Kind.BUCKET)
CALM = (Kind.SNAPSHOT, Kind.DUMP)
READY_SECONDS = 60


class Storm:
    """One seed's faults. struck, skipped: how often each kind was done, or found nothing to strike.

    tell: called with a line when something happens.
    """

    def __init__(self, scene: Scene, probes: Probes, tell: Callable[[str], None]) -> None:
        self.struck: Counter[Kind] = Counter()
        self.skipped: Counter[Kind] = Counter()
        self.errors: list[str] = []
        self._scene, self._probes, self._tell = scene, probes, tell
        self._lasting: list[threading.Thread] = []

    def run(self, schedule: Sequence[Fault]) -> None:
        """Returns when all faults are over."""
        try:
            for fault in schedule:
                if self._scene.stop.wait(fault.pause):
                    return
                if fault.kind in ALONE:
                    self._wait_for_others()
                if fault.kind in EXCLUSIVE:
                    self._strike(fault)
                else:
                    thread = threading.Thread(target=self._strike, args=[fault], name=fault.kind)
                    thread.start()
                    self._lasting.append(thread)
        finally:
            for thread in self._lasting:
                thread.join()

    def _wait_for_others(self) -> None:
        for thread in self._lasting:
            if thread.name not in CALM:
                thread.join()
        with suppress(AssertionError):  # then what it asks for will not come, and that is told
            settings = self._scene.target.settings
            eventually(lambda: answers(settings, "/readyz") or self._scene.stop.is_set(), within=READY_SECONDS)

    def _strike(self, fault: Fault) -> None:
        began = time.monotonic()
        self._probes.fault_begins()
        self._tell(f"{fault.kind} begins")
        try:
            STRIKES[fault.kind](self._scene, fault)
        except (NoTarget, psutil.NoSuchProcess) as reason:
            self.skipped[fault.kind] += 1
            self._tell(f"{fault.kind} skipped: {reason}")
            self._probes.fault_ended()
            return
        except Exception as error:
            self.errors.append(f"{fault.kind}: {type(error).__name__}: {error}")
            self._tell(self.errors[-1])
            self._probes.fault_ended()
            return
        self.struck[fault.kind] += 1
        self._probes.fault_ended()
        self._probes.measure(fault.kind, healing_begins(fault.kind, began))
        self._tell(f"{fault.kind} is over after {time.monotonic() - began:.1f} s")
