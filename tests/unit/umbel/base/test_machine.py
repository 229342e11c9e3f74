"""Cores and memory by the quotas of control groups, in made-up and in real ones."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from umbel.base import machine
from umbel.base.machine import core_share, cores, cpu, memory, waited_seconds

MANY = 64


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)


def process(folder: Path, *, groups: str, mounts: list[str]) -> Path:
    """What the kernel would tell in /proc/self."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    lines = [f"31 23 0:28 {mount}" for mount in ["/ / rw - ext4 /dev/vda rw", *mounts]]
    (proc / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return proc


def group(path: Path, **files: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_control_groups_there_is_the_whole_machine(tmp_path: Path) -> None:
    assert (cores(tmp_path), memory(tmp_path)) == (MANY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", MANY), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", MANY)]
)
def test_version_2_in_a_container_of_its_own_namespace(tmp_path: Path, quota: str, expected: int) -> None:
    group(tmp_path / "fs", cpu__max=quota, memory__max=str(2**28))
    proc = process(tmp_path, groups="0::/\n", mounts=[f"/ {tmp_path}/fs rw - cgroup2 cgroup rw,nsdelegate"])
    assert (cores(proc), memory(proc)) == (expected, 2**28)


def test_the_tightest_of_the_groups_around_counts(tmp_path: Path) -> None:
    group(tmp_path / "fs" / "pods", cpu__max="200000 100000", memory__max=str(2**27))
    group(tmp_path / "fs" / "pods" / "one" / "main", cpu__max="400000 100000", memory__max="max")
    proc = process(tmp_path, groups="0::/pods/one/main\n", mounts=[f"/ {tmp_path}/fs rw - cgroup2 cgroup rw"])
    assert (cores(proc), memory(proc)) == (2, 2**27)


def test_version_1_has_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    unlimited = str(2**63 - 4096)
    group(tmp_path / "cpu" / "a", **{"cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "100000"})
    group(tmp_path / "cpu", **{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"})
    group(tmp_path / "memory" / "b", **{"memory.limit_in_bytes": str(2**26)})
    group(tmp_path / "memory", **{"memory.limit_in_bytes": unlimited})
    mounts = [
        f"/ {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct",
        f"/ {tmp_path}/memory rw - cgroup cgroup rw,memory",
        f"/ {tmp_path}/unified rw - cgroup2 cgroup2 rw",
    ]
    proc = process(tmp_path, groups="4:memory:/b\n2:cpu,cpuacct:/a\n0::/\n", mounts=mounts)
    assert (cores(proc), memory(proc)) == (3, 2**26)


def test_a_path_of_the_host_leads_to_what_is_mounted_of_it(tmp_path: Path) -> None:
    group(tmp_path / "cpu", **{"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"})
    mounts = [f"/docker/abc {tmp_path}/cpu rw - cgroup cgroup rw,cpu"]
    assert cores(process(tmp_path, groups="2:cpu:/docker/abc\n", mounts=mounts)) == 1


def test_a_quota_is_known_to_the_share_of_a_core(tmp_path: Path) -> None:
    group(tmp_path / "fs", cpu__max="150000 100000")
    proc = process(tmp_path, groups="0::/\n", mounts=[f"/ {tmp_path}/fs rw - cgroup2 cgroup rw"])
    assert (core_share(proc), cores(proc)) == (1.5, 2)


def test_a_field_of_the_first_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert cpu("model name") is None
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel\t\t: 17\nmodel name\t: A: b\n\nmodel name\t: other\n")
    assert (cpu("model name"), cpu("model"), cpu("flags")) == ("A: b", "17", None)


def test_all_threads_count_in_the_time_that_cores_were_waited_for(tmp_path: Path) -> None:
    for thread, waited in (("1", 500_000_000), ("2", 250_000_000)):
        group(tmp_path / "task" / thread, schedstat=f"900 {waited} 7")
    assert waited_seconds(tmp_path) == 0.75
    assert waited_seconds(tmp_path / "task") == 0


@pytest.fixture
def real() -> Iterator[Path]:
    """A control group of this machine with a quota of one core and a half."""
    for top, quota in (("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us"), ("/sys/fs/cgroup", "cpu.max")):
        made = Path(top, f"umbel-test-{os.getpid()}")
        if not Path(top, quota.replace("max", "stat")).exists():
            continue
        try:
            made.mkdir()
            (made / quota).write_text("50000")
        except OSError as error:
            if made.exists():
                made.rmdir()
            pytest.skip(f"no control group can be made here: {error}")
        yield made
        made.rmdir()
        return
    pytest.skip("no control groups")


def test_a_real_control_group(real: Path) -> None:
    script = f'echo $$ > {real}/cgroup.procs; exec {sys.executable} -c "{SCRIPT}"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["1"]


SCRIPT = f"from {machine.__name__} import cores; print(cores())"
