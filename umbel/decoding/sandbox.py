"""What a decoder's process may do once it is ready: compute, and use the files and the socket that it has open.

An attacker who takes over an image library must find nothing to read and nowhere to send it: no environment, no file,
no network, no other process. On Linux seccomp refuses the system calls for all that, through libseccomp; where it is
missing, and elsewhere, resource limits and the clean environment are all that holds.
"""

import ctypes
import errno
import os
import resource
from collections.abc import Mapping
from contextlib import suppress

SECCOMP, LIMITS_ONLY = "seccomp", "limits"  # what is in force

# Of the environment: what the interpreter and the C library read for themselves. Not TMPDIR, HOME, PATH, proxies, AWS_…
PASSED = ("LANG", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES", "TZ")
PASSED_PREFIXES = ("LC_", "PYTHON", "MALLOC_", "DYLD_")

# The allowed system calls; all others fail with EPERM, which libraries that only look around take for an answer.
ALLOWED = (
    *("read", "readv", "pread64", "write", "writev", "pwrite64", "lseek", "_llseek", "close", "fstat", "fstat64"),
    *("ftruncate", "fcntl", "fcntl64", "poll", "ppoll", "recvfrom", "recvmsg", "sendto", "sendmsg"),
    *("munmap", "mremap", "madvise", "brk", "membarrier"),
    *("futex", "futex_time64", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "getcpu"),
    *(
        "gettid",
        "getpid",
        "exit",
        "exit_group",
        "getrandom",
        "getrusage",
        "getrlimit",
        "ugetrlimit",
        "sysinfo",
        "uname",
    ),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack", "restart_syscall"),
    *("alarm", "setitimer", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_gettime64", "clock_getres"),
    *("gettimeofday", "time", "sysinfo", "uname"),
)

# Source: seccomp.h of libseccomp 2.5, sched.h, sys/mman.h, prctl(2).
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ATTRIBUTE_TSYNC = 4  # the filter is for all threads: numpy's BLAS may have started some
_EQUAL, _MASKED_EQUAL = 4, 7
CLONE_THREAD = 0x10000
PROT_EXEC = 4
PR_SET_NO_NEW_PRIVS = 38


class _Compared(ctypes.Structure):
    """One argument of a system call compared with a value: libseccomp's scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64),
    )  # fmt: skip


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a decoder's process gets of `environment`: no secret, no address of a service."""
    kept = {k: v for k, v in environment.items() if k in PASSED or k.startswith(PASSED_PREFIXES)}
    return kept | {"OPENBLAS_NUM_THREADS": "1"}  # nothing here multiplies matrices


def confine(*, files: int) -> str:
    """Give up, for good, what decoding does not need; returns what is in force: SECCOMP or LIMITS_ONLY.

    files: how many more than are open now will be open at once. Everything must have been imported.
    """
    _limit(resource.RLIMIT_CORE, 0)  # a core dump would be a copy of the picture
    _limit(resource.RLIMIT_NOFILE, max(filter(_is_open, map(int, os.listdir("/dev/fd")))) + 1 + files)
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        _filter_calls(ctypes.CDLL("libseccomp.so.2", use_errno=True))
    except OSError:  # no libseccomp, or a kernel without seccomp
        return LIMITS_ONLY
    return SECCOMP


def _is_open(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return False
    return True


def _limit(what: int, value: int) -> None:
    with suppress(OSError, ValueError):
        resource.setrlimit(what, (value, value))


def _filter_calls(library: ctypes.CDLL) -> None:
    """Raises OSError if the filter cannot be put in force."""
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ERRNO | errno.EPERM))
    if not context:
        raise OSError(errno.EINVAL, "seccomp_init")

    def add(action: int, call: str, *compared: tuple[int, int, int, int]) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # else this machine does not have it
            conditions = (_Compared * len(compared))(*(_Compared(*each) for each in compared))
            _checked(library.seccomp_rule_add_array(context, action, number, len(compared), conditions))

    try:
        _checked(library.seccomp_attr_set(context, _ATTRIBUTE_TSYNC, 1))
        for call in ALLOWED:
            add(_ALLOW, call)
        for call in ("mmap", "mmap2", "mprotect"):  # nothing that was not loaded before becomes code
            add(_ALLOW, call, (2, _MASKED_EQUAL, PROT_EXEC, 0))
        add(_ALLOW, "clone", (0, _MASKED_EQUAL, CLONE_THREAD, CLONE_THREAD))  # threads of decoders, but no process
        add(_ERRNO | errno.ENOSYS, "clone3")  # its flags cannot be seen; glibc then uses clone
        add(_ALLOW, "prlimit64", (2, _EQUAL, 0, 0))  # read only
        for call in ("kill", "tgkill"):  # abort() and the like
            add(_ALLOW, call, (0, _EQUAL, os.getpid(), 0))
        _checked(library.seccomp_load(context))
    finally:
        library.seccomp_release(context)


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
