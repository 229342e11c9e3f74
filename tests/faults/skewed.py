"""`umbel`, in a process whose clock runs two hours ahead. A script, run by path: `python -P skewed.py worker …`.

Everything in Python that tells the time of day is shifted before anything else is imported. Monotonic clocks, which
measure how long things take, are right on a machine whose time of day is wrong.
"""

import datetime
import time

AHEAD_SECONDS = 2 * 60 * 60


def shift_clock(seconds: int) -> None:
    """Put this process's time of day ahead."""
    true_time, true_time_ns = time.time, time.time_ns
    true_gmtime, true_localtime, true_datetime = time.gmtime, time.localtime, datetime.datetime
    true_now = true_datetime.now
    ahead = datetime.timedelta(seconds=seconds)

    class AnyDatetime(type):
        def __instancecheck__(cls, value: object) -> bool:  # the ones that C code makes are not shifted, but are times
            return isinstance(value, true_datetime)

    class Shifted(true_datetime, metaclass=AnyDatetime):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Shifted":
            now = true_now(tz) + ahead
            return cls.combine(now.date(), now.timetz())

        @classmethod
        def utcnow(cls) -> "Shifted":
            return cls.now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> "Shifted":
            return cls.now()

    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + seconds * 10**9
    time.gmtime = lambda at=None: true_gmtime(time.time() if at is None else at)
    time.localtime = lambda at=None: true_localtime(time.time() if at is None else at)
    datetime.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    shift_clock(AHEAD_SECONDS)
    from cli.main import main

    main()
