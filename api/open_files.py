"""How many files the API may open, and so how many connections it takes: one that it cannot open would be lost."""

import resource

from umbel.base.errors import StackError

MOST_CONNECTIONS = 4_000  # of a process: its loop looks at each of them in turn
BY_CONNECTION = 2  # the socket, and the file of a large request or answer
BY_THREAD = 8  # a database connection, a connection to Redis, files of a form and of the blob store
BY_PROCESS = 64  # Python's own, sockets of the decoders, the listener, the metrics
FEWEST_CONNECTIONS = 16


def raise_limit(threads: int) -> None:
    """Raise this process's soft limit of open files, which its children inherit, as far as it is of use.

    Raises StackError when even the hard limit is too low to serve with that many threads.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    useful = _reserved(threads) + MOST_CONNECTIONS * BY_CONNECTION
    least = _reserved(threads) + FEWEST_CONNECTIONS * BY_CONNECTION
    limit = max(soft, useful if hard == resource.RLIM_INFINITY else min(useful, hard))
    if limit < least:
        raise StackError(f"at most {limit} files may be open; the API needs {least}: raise the limit (ulimit -n)")
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def most_connections(threads: int) -> int:
    """Connections that a process with this many threads can have under its present limit of open files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, (limit - _reserved(threads)) // BY_CONNECTION))


def _reserved(threads: int) -> int:
    return BY_PROCESS + threads * BY_THREAD
