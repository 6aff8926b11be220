"""Time as an argument: whoever needs the time is given a Clock.

`SystemClock` is made by server/ only; tests and the simulator pass clocks of their own.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time, in milliseconds and nanoseconds."""

    def now_ms(self) -> int:
        """Return Unix time in ms; may jump."""

    def monotonic_ns(self) -> int:
        """Return time that never goes back, counting suspend, in ns since an arbitrary point."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
