"""Build the images of deploy/Dockerfile without an engine: its stages as folders, its RUN steps by chroot.

A stage is a copy of the one before, and kept until its steps or what they copy change. The base image is a Debian root
file system of the same release that debootstrap has made. Steps run with the network and the package index of this
machine; what they leave is what an engine would put into the image, so a package or a path that is missing is found.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASES = {"debian:bookworm-slim": "bookworm"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Stage:
    """A stage of the build, and what its image would be configured with. digest: of all that it was made from."""

    name: str
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    digest: str = ""


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(verb, the rest) of each instruction; comments and continued lines done away with."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    parts = (line.partition(" ") for line in joined.splitlines() if line)
    return [(verb.upper(), rest.strip()) for verb, _, rest in parts]


class Build:
    """Every stage of the Dockerfile, in `folder`. args: build arguments."""

    def __init__(self, folder: Path, args: dict[str, str]) -> None:
        self.folder, self.args = folder, args
        self.stages: dict[str, Stage] = {}

    def run(self) -> dict[str, Stage]:
        steps = instructions((ROOT / "deploy" / "Dockerfile").read_text())
        while steps:
            (_, origin), *steps = steps
            own = list(takewhile(lambda step: step[0] != "FROM", steps))
            steps = steps[len(own) :]
            self._make(origin, own)
        return self.stages

    def _make(self, origin: str, steps: list[tuple[str, str]]) -> None:
        parent, _, name = origin.split()
        before = self.stages.get(parent) or Stage(parent, base(self.folder.parent, BASES[parent]), {"PATH": PATH})
        stage = replace(before, name=name, root=self.folder / name, env=dict(before.env))
        stage.digest = self._digest(before, steps)
        self.stages[name] = stage
        marker = self.folder / f"{name}.digest"
        kept = stage.root.exists() and marker.exists() and marker.read_text() == stage.digest
        if not kept:
            marker.unlink(missing_ok=True)
            subprocess.run(["rm", "--recursive", "--force", "--one-file-system", stage.root], check=True)
            subprocess.run(["cp", "--archive", "--reflink=auto", before.root, stage.root], check=True)
        for verb, rest in steps:
            print(f"[{name}]{' kept:' if kept else ''} {verb} {re.sub(' +', ' ', rest)[:110]}", flush=True)
            if not (kept and verb in ("RUN", "COPY")):
                getattr(self, f"_{verb.lower()}")(stage, rest)
        marker.write_text(stage.digest)

    def _digest(self, before: Stage, steps: list[tuple[str, str]]) -> str:
        hashed = hashlib.sha256(json.dumps([before.digest, steps, self.args]).encode())
        for rest in (rest for verb, rest in steps if verb == "COPY"):
            if rest.startswith("--from="):
                hashed.update(self.stages[rest.split()[0].removeprefix("--from=")].digest.encode())
            for path in copied(rest):
                hashed.update(path.encode() + (ROOT / path).read_bytes())
        return hashed.hexdigest()

    def _env(self, stage: Stage, rest: str) -> None:
        for word in shlex.split(rest):
            name, _, value = word.partition("=")
            stage.env[name] = re.sub(r"\$(\w+)", lambda found: stage.env.get(found[1], ""), value)

    def _arg(self, stage: Stage, rest: str) -> None:
        name, _, default = rest.partition("=")
        stage.env[name] = self.args.get(name, default)

    def _workdir(self, stage: Stage, rest: str) -> None:
        stage.workdir = rest
        (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _user(self, stage: Stage, rest: str) -> None:
        stage.user = rest

    def _entrypoint(self, stage: Stage, rest: str) -> None:
        stage.entrypoint, stage.cmd = json.loads(rest), []

    def _cmd(self, stage: Stage, rest: str) -> None:
        stage.cmd = json.loads(rest)

    def _expose(self, stage: Stage, rest: str) -> None:
        pass

    def _copy(self, stage: Stage, rest: str) -> None:
        words = rest.split()
        folder = words[0] == "." or words[-1].endswith("/")  # else the target is the file's new name
        target = stage.root / str(Path(stage.workdir, words[-1])).lstrip("/")
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).removeprefix("--from=")].root / words[0].lstrip("/")
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            return
        for path in copied(rest):
            into = target / (path if words[0] == "." else Path(path).name) if folder else target
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, into)

    def _run(self, stage: Stage, rest: str) -> None:
        environment = {**stage.env, "PIP_CONFIG_FILE": "/run/pip.conf", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            inside(stage.root, package_sources(self.folder), ["/bin/sh", "-c", f"cd {stage.workdir} && {rest}"]),
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{done.stdout[-4000:]}\nRUN failed with {done.returncode} in the stage {stage.name}: {rest}")


def base(cache: Path, release: str) -> Path:
    """The root file system of a Debian release, made once."""
    root = cache / release
    if not root.exists():
        unfinished = root.with_name(f"{release}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(["debootstrap", "--variant=minbase", release, unfinished], check=True, stdout=subprocess.DEVNULL)
        unfinished.rename(root)
    return root


def copied(rest: str) -> list[str]:
    """The files of the checkout that a COPY takes: `.` for all that there are, else files by name."""
    words = rest.split()[:-1]
    if rest.startswith("--from="):
        return []
    there = context()
    missing = set(words) - set(there) - {"."}
    assert not missing, f"COPY {missing}: .dockerignore keeps it from the builder, or it is not there"
    return there if "." in words else words


def context() -> list[str]:
    """The files that .dockerignore lets through to the builder: the last of its lines that fits a path decides."""
    lines = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    rules = [line for line in lines if line and not line.startswith("#")]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if _goes(path, rules)]


def _goes(path: str, rules: list[str]) -> bool:
    ways = [str(way) for way in (Path(path), *Path(path).parents)]
    goes = True
    for rule in rules:
        if any(fnmatch(way, rule.lstrip("!").replace("**/", "*")) for way in ways):
            goes = rule.startswith("!")
    return goes


def package_sources(folder: Path) -> list[tuple[Path, str]]:
    """What pip needs in a root file system to find what it finds here: its configuration and the folders it names."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    values: dict[str, str] = {}
    for line in said.stdout.splitlines():
        name, _, value = line.partition("=")
        values[name.rpartition(".")[2]] = value.strip("'\"")
    mounts = [(Path("/etc/resolv.conf"), "/etc/resolv.conf")]
    named = sorted({Path(re.sub(r"^file://", "", word)) for word in " ".join(values.values()).split()})
    lines = "".join(f"{name} = {value}\n" for name, value in values.items())
    for place in (place for place in named if place.is_absolute() and place.exists()):
        if place.is_dir():
            shared = place.parent if place.name == "simple" else place  # an index has its files beside it
            mounts.append((shared, str(shared)))
        else:  # never at its own place: a package may write there, and through the mount into this machine
            mounts.append((place, f"/run/check{place}"))
            lines = re.sub(rf"{re.escape(str(place))}$", f"/run/check{place}", lines, flags=re.MULTILINE)
    config = folder / "pip.conf"
    config.write_text(f"[global]\n{lines}")
    return [*mounts, (config, "/run/pip.conf")]


def inside(
    root: Path,
    binds: list[tuple[Path, str]],
    command: list[str],
    *,
    user: str = "0:0",
    tmpfs: list[tuple[str, str]] | None = None,
    read_only: bool = False,
) -> list[str]:
    """A command line that runs `command` in a root file system, in its own namespaces; what it starts ends with it."""
    script = ["set -e", f"mount --bind {root} {root}"]
    script += [f"mkdir -p {root}{target}" for target in ("/dev", "/proc", *(target for target, _ in tmpfs or []))]
    for source, target in binds:
        made = f"{root}{target}"
        touched = f"mkdir -p $(dirname {made}); test -e {made} || touch {made}"
        script.append(f"mkdir -p {made}" if source.is_dir() else touched)
    script.append(f"mount -t proc proc {root}/proc")
    if read_only:
        script.append(f"mount -o remount,bind,ro {root}")
    script += [f"mount --rbind /dev {root}/dev", f"mount -t tmpfs tmpfs {root}/dev/shm"]
    script += [f"mount -t tmpfs -o {options} tmpfs {root}{target}" for target, options in tmpfs or []]
    script += [f"mount --bind {source} {root}{target}" for source, target in binds]
    script.append(f"exec chroot --userspec={user} {root} {shlex.join(command)}")
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return [*own, "sh", "-c", "\n".join(script)]


def megabytes(root: Path) -> int:
    return int(subprocess.run(["du", "-sxm", root], capture_output=True, text=True, check=True).stdout.split()[0])


if __name__ == "__main__":
    cache = Path(sys.argv[1]).resolve()
    (cache / "stages").mkdir(parents=True, exist_ok=True)
    built = Build(cache / "stages", {name: os.environ[name] for name in ("TORCH_INDEX",) if name in os.environ}).run()
    for name in ("api", "worker"):
        print(f"image {name}: {megabytes(built[name].root)} MB")
    described = {name: {**vars(stage), "root": str(stage.root)} for name, stage in built.items()}
    (cache / "images.json").write_text(json.dumps(described, indent=1))
