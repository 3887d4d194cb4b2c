"""Where the brightness of whole frames leaps, as where signal was lost for a moment: nothing goes on across that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from STEnhanceLib.motion import course
from STEnhanceLib.motion.course import Place

LARGEST_CHANGE = 1.5  # times, from frame to frame; in the cines of four hearts at most 1.04, also four frames apart


def brightness_of(frames: np.ndarray) -> np.ndarray:
    """(T,) the mean magnitude of each frame of (T, K, J, I)."""
    return np.array([np.abs(frame).mean(dtype=np.float64) for frame in frames])


def between_leaps(path: Sequence[Place], time_ms: float, brightness: np.ndarray) -> list[Place]:
    """The two frames around a moment, and those before and after them from which they are no leap away.

    At the moment of a frame these are that frame and all that are no leap away from it; if there are none, it and a
    neighbour, which then has no share in it.

    Args:
        path: see `course.path_through`.
        time_ms: the moment.
        brightness: of all frames, see `brightness_of`.
    """
    first = course.before(path, time_ms)
    last = first + 1
    if path[first].time_ms == time_ms:
        last = first
    elif path[last].time_ms == time_ms:
        first = last
    while first > 0 and not _is_leap(brightness, path[first - 1], path[first]):
        first -= 1
    while last < len(path) - 1 and not _is_leap(brightness, path[last], path[last + 1]):
        last += 1
    if first == last:
        first = min(first, len(path) - 2)
        last = first + 1
    return list(path[first : last + 1])


def _is_leap(brightness: np.ndarray, one: Place, other: Place) -> bool:
    low, high = sorted((brightness[one.frame], brightness[other.frame]))
    return bool(high > LARGEST_CHANGE * low)
