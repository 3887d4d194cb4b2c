"""What readers assume where a file or a scene is silent, in the same words for all of them."""

from __future__ import annotations

import numpy as np

NOT_A_CYCLE = (
    "Assumed not to be a cycle, since nothing says that the last frame is followed by the first; "
    "say so (--periodic, or the panel's check box) if it is."
)
FRAME_DURATION_MS = 40.0
NO_TIMES = f"There are no frame times; assumed {FRAME_DURATION_MS:g} ms between frames."

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
