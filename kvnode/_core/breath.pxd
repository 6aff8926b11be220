"""How a command on a thread of its own leaves the interpreter to the others.

Not more often than a thread that waits for the interpreter gives notice, which it does one switch
interval after it was last woken: without the notice the interpreter comes back to who gave it away at
once, and the other was woken only to begin its interval again. It would wait for as long as the
command takes.
"""

from libc.stdint cimport uint32_t, uint64_t
from kvnode._core.clock cimport monotonic_micros

cdef enum:
    STEPS_PER_BREATH = 64       # between two looks at the clock
    BREATH_MICROS = 1000        # that the interpreter is kept: above twice SWITCH_INTERVAL_SECONDS

cdef struct Breath:
    uint32_t steps              # since the clock was looked at
    uint64_t at                 # when others could last run, in microseconds


cdef inline bint breathe(Breath* breath, uint32_t steps) noexcept:
    """Count steps, and let others run if it is time; whether it has looked at the clock."""
    breath.steps += steps
    if breath.steps < STEPS_PER_BREATH:
        return False
    breath.steps = 0
    if monotonic_micros() - breath.at >= BREATH_MICROS:
        with nogil:
            pass
        breath.at = monotonic_micros()
    return True
