"""What readers assume where a file or a scene is silent, in the same words for all of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

NOT_A_CYCLE = (
    "Assumed not to be a cycle, since nothing says that the last frame is followed by the first; say so if it is."
)
FRAME_DURATION_MS = 40.0
NO_TIMES = f"There are no frame times; assumed {FRAME_DURATION_MS:g} ms between frames."
PERHAPS_NUMBERS = "The frame times are 0, 1, 2, … s, which may be frame numbers; check the frame duration."
NO_UNIT_OF_TIME = "The file gives no known unit of time"  # how a note begins that says what was taken instead

MS_PER_UNIT = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1.0),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1e3),
    **dict.fromkeys(("us", "usec", "µs", "μs", "microsecond", "microseconds"), 1e-3),
    **dict.fromkeys(("min", "minute", "minutes"), 60e3),
}
"""Milliseconds per unit of time, by the unit's name in lower case."""


def without_doubts(notes: Iterable[str], *, times: bool = False, cycle: bool = False) -> tuple[str, ...]:
    """The notes that still hold when the user has said how long frames last, or whether they form a cycle."""

    def answered(note: str) -> bool:
        on_times = note in (NO_TIMES, PERHAPS_NUMBERS) or note.startswith(NO_UNIT_OF_TIME)
        return (times and on_times) or (cycle and note.startswith(NOT_A_CYCLE.partition(";")[0]))

    return tuple(note for note in notes if not answered(note))


def numbered_times(count: int) -> np.ndarray:
    """(T,) ms for frames of which only the order is known; goes with the note `NO_TIMES`."""
    return FRAME_DURATION_MS * np.arange(count)
