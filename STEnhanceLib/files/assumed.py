"""What readers assume where a file is silent, in the same words for every format."""

from __future__ import annotations

import numpy as np

NOT_A_CYCLE = (
    "Assumed not to be a cycle, since the file does not say that the last frame is followed by the first; "
    "say --periodic if it is."
)
FRAME_DURATION_MS = 40.0
NO_TIMES = f"The file gives no frame times; assumed {FRAME_DURATION_MS:g} ms between frames."

MS_PER_UNIT = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1.0),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1e3),
    **dict.fromkeys(("us", "usec", "µs", "μs", "microsecond", "microseconds"), 1e-3),
    **dict.fromkeys(("min", "minute", "minutes"), 60e3),
}
"""Milliseconds per unit of time, by the unit's name in lower case."""


def numbered_times(count: int) -> np.ndarray:
    """(T,) ms for frames of which only the order is known; goes with the note `NO_TIMES`."""
    return FRAME_DURATION_MS * np.arange(count)
