"""Whether this process gets anything done: noted where items get on or end, asked for at each heartbeat."""

import threading


class Progress:
    """Any thread notes; one asks."""

    def __init__(self) -> None:
        self._noted = threading.Event()

    def note(self) -> None:
        """Something was finished just now."""
        self._noted.set()

    def since_asked(self) -> bool:
        """Whether anything was noted since the last time this was asked."""
        noted = self._noted.is_set()
        self._noted.clear()
        return noted


progress = Progress()
