"""What of this machine the process may use: cores and memory, by affinity and by the quotas of control groups; and what
processor it has.

A container or a systemd unit is limited by a control group (cgroups(7)), nested in others that may be tighter. Python's
`os.sched_getaffinity` knows nothing of them, nor does torch or OpenVINO.
"""

import math
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SELF = Path("/proc/self")
CPUINFO = Path("/proc/cpuinfo")
NO_LIMIT = 2**60  # version 1 says so with nearly 2**63, rounded to pages


class _Mount(NamedTuple):
    """A hierarchy of control groups: what of it is mounted, and where. controllers: empty in version 2."""

    root: str
    place: Path
    controllers: frozenset[str]


def cores(proc: Path = SELF) -> int:
    """The cores that this process may keep busy; a quota of one and a half counts as two."""
    return max(1, math.ceil(core_share(proc)))


def core_share(proc: Path = SELF) -> float:
    """The cores' worth of time that this process may take: all that it may run on, or its quota of them."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([affine, *_quotas(proc)])


def cpu(field: str) -> str | None:
    """What Linux says of the first processor, such as `model name` or `flags`; None where it says nothing."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return None
    return next(
        (value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == field), None
    )


def cpu_identity() -> dict[str, str]:
    """What tells this kind of processor from others: its names, and its instructions. Virtual ones share names."""
    fields = ("vendor_id", "model name", "cpu family", "model", "stepping", "flags", "CPU part", "Features")
    said = {field: value for field in fields if (value := cpu(field))}
    return {"architecture": platform.machine(), "processor": platform.processor(), **said}


def waited_seconds(proc: Path = SELF) -> float:
    """Seconds in all for which threads of this process were ready to run and had no core; 0 where nobody counts them.

    Source: kernel.org, "Scheduler Statistics", /proc/<pid>/schedstat.
    """
    return sum(times[1] for times in _numbers((proc / "task").glob("*/schedstat"))) / 1e9


def memory(proc: Path = SELF) -> int:
    """Bytes that this process and those beside it in its control group may take."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [
        *_numbers(folder / "memory.max" for folder in _groups(proc, "")),
        *_numbers(folder / "memory.limit_in_bytes" for folder in _groups(proc, "memory")),
    ]
    return min([whole, *(limit for limit, *_ in limits if limit < NO_LIMIT)])


def _quotas(proc: Path) -> Iterator[float]:
    """Cores' worth of time, of each control group around this process that has a quota."""
    for quota, period in _numbers(folder / "cpu.max" for folder in _groups(proc, "")):
        yield quota / period
    for folder in _groups(proc, "cpu"):
        for (quota,) in _numbers([folder / "cpu.cfs_quota_us"]):
            for (period,) in _numbers([folder / "cpu.cfs_period_us"]):
                if quota > 0:
                    yield quota / period


def _groups(proc: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those around it; controller: "" for version 2."""
    try:
        belongs = [line.split(":", 2)[1:] for line in (proc / "cgroup").read_text().splitlines()]
        mounts = list(_mounts((proc / "mountinfo").read_text()))
    except OSError:  # not Linux
        return
    for controllers, path in belongs:
        for mount in mounts:
            mounted = controller in mount.controllers if controller else not mount.controllers
            if mounted and controller in controllers.split(","):
                yield from _upwards(mount, path)


def _upwards(mount: _Mount, path: str) -> Iterator[Path]:
    """In a container the path may be the host's, of which only the container's own part is mounted."""
    inside = os.path.relpath(path, mount.root)
    folder = mount.place if inside.startswith("..") else Path(os.path.normpath(mount.place / inside))
    while True:
        yield folder
        if folder in (mount.place, folder.parent):
            return
        folder = folder.parent


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    """Source: proc(5), /proc/pid/mountinfo."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        root, place = (field.replace("\\040", " ") for field in fields.split(" ")[3:5])
        if kind == "cgroup2":
            yield _Mount(root, Path(place), frozenset())
        elif kind == "cgroup":
            yield _Mount(root, Path(place), frozenset(options.split(",")))


def _numbers(files: Iterable[Path]) -> Iterator[list[int]]:
    """The numbers in each file that is there and says no `max`."""
    for file in files:
        try:
            yield [int(word) for word in file.read_text().split()]
        except (OSError, ValueError):
            continue
