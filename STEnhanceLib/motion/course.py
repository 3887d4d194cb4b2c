"""Where tissue is at a moment, and how bright, from where and how bright it was in the frames on its path.

All of it is linear in the frames, so that a course is one weight for each of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

BRIGHTNESS_SHARE = 0.75  # of the cubic in time
SMOOTHED_OVER = 2.75  # frames on each side; as much noise is then left in every frame, however many share in it
MOST_UNEVEN = 2.5  # a frame that is farther or nearer by more than this factor tells nothing of the course
MOST_HARMONICS = 5  # of a cycle: the motion of a heart has hardly more
FRAMES_PER_HARMONIC = 3
MOST_AMPLIFICATION = 3.0  # of errors of the places


class Place(NamedTuple):
    """A frame on the path of the tissue: which, and when, in ms."""

    frame: int
    time_ms: float


def path_through(frames: Iterable[int], times_ms: np.ndarray, period_ms: float | None) -> list[Place]:
    """Those of the frames that there are, with their times.

    Args:
        frames: in the order of time; of a cycle also those of the one before and the next, counted on.
        times_ms: (T,) of all frames.
        period_ms: of the cycle; None where it is none.
    """
    count = len(times_ms)
    return [
        Place(n % count, float(times_ms[n % count]) + (n // count * period_ms if period_ms else 0.0))
        for n in frames
        if period_ms or 0 <= n < count
    ]


def pairs(path: Sequence[Place]) -> list[tuple[int, int]]:
    """The neighbours on a path."""
    return [(one.frame, other.frame) for one, other in itertools.pairwise(path)]


def times(path: Sequence[Place]) -> np.ndarray:
    """(N,) in ms."""
    return np.array([place.time_ms for place in path])


def before(path: Sequence[Place], time_ms: float) -> int:
    """The index of the last place that is not later than the moment and has another one after it."""
    return min(sum(place.time_ms <= time_ms for place in path), len(path) - 1) - 1


def is_measured(path: Sequence[Place], time_ms: float) -> bool:
    """The moment is that of a frame on the path."""
    return any(place.time_ms == time_ms for place in path)


def even(path: Sequence[Place], time_ms: float) -> np.ndarray:
    """Weights (N,) of a straight line between the two frames around the moment."""
    at, n = times(path), before(path, time_ms)
    weights = np.zeros(len(path))
    weights[n + 1] = (time_ms - at[n]) / (at[n + 1] - at[n])
    weights[n] = 1 - weights[n + 1]
    return weights


def bent(path: Sequence[Place], time_ms: float) -> np.ndarray:
    """Weights (N,) of the cubic through up to four frames around the moment, whose sides it needs one on each."""
    at, n = times(path), before(path, time_ms)
    near = _even_enough(at, slice(n, n + 2), 1)
    weights = np.zeros(len(path))
    weights[near] = _polynomial(at[near], time_ms)
    return weights


def brightness(path: Sequence[Place], time_ms: float, through_measured: bool = True) -> np.ndarray:
    """Weights (N,) of the intensities of tissue: three quarters of the cubic, for all of it would follow the noise.

    Where measured frames are made anew, too, those of the parabola that fits the five or six frames around the moment
    best, the less the farther they are; towards the ends of what is no cycle, more and more those of a line. Of white
    noise 72 % is left at all moments alike, so that nothing flickers.
    Cleveland: Robust locally weighted regression and smoothing scatterplots. J Am Stat Assoc 1979; 74:829-836.
    """
    straight = even(path, time_ms)
    if through_measured:
        return straight + BRIGHTNESS_SHARE * (bent(path, time_ms) - straight)
    at, n = times(path), before(path, time_ms)
    here = n + straight[n + 1]  # on an axis on which frames are 1 apart
    near = _even_enough(at, slice(n, n + 2), 2)
    roots = np.cos(np.pi / 2 * np.minimum(np.abs(np.arange(near.start, near.stop) - here) / SMOOTHED_OVER, 1))
    away = (at[near] - time_ms) / np.ptp(at[near])
    line, parabola = (
        np.linalg.pinv(roots[:, None] * np.vander(away, degree + 1, increasing=True))[0] * roots for degree in (1, 2)
    )
    from_end = min(1.0, here - near.start, near.stop - 1 - here)
    weights = np.zeros(len(path))
    weights[near] = line + from_end * (parabola - line)
    return weights


def aside(path: Sequence[Place], time_ms: float, cycle_ms: float | None, through_measured: bool) -> np.ndarray:
    """Weights (N,) of the places of tissue, for how far it is off the straight line between its neighbours.

    They follow the cubic; in a cycle, of which the path holds each frame once, the harmonics. Of these, only how they
    bend between both neighbours counts where tissue goes through the places that it was measured at.
    """
    straight = even(path, time_ms)
    if cycle_ms is None:
        return np.zeros(len(path)) if is_measured(path, time_ms) else bent(path, time_ms) - straight
    fitted = harmonics(path, time_ms, cycle_ms)
    if not through_measured:
        return fitted - straight
    n = before(path, time_ms)
    ends = (harmonics(path, path[side].time_ms, cycle_ms) for side in (n, n + 1))
    return fitted - sum(share * end for share, end in zip(straight[n : n + 2], ends, strict=True))


def harmonics(path: Sequence[Place], time_ms: float, cycle_ms: float) -> np.ndarray:
    """Weights (N,) of the sum of harmonics that fits all frames of a cycle best."""
    at = times(path)
    most = min(MOST_HARMONICS, max(2, len(path) // FRAMES_PER_HARMONIC), (len(path) - 1) // 2)
    whole = np.arange(1, most + 1)

    def basis(moments: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * (moments - at[0])[:, None] / cycle_ms
        return np.hstack([np.ones_like(angle), np.cos(angle * whole), np.sin(angle * whole)])

    return (basis(np.array([time_ms])) @ np.linalg.pinv(basis(at)))[0]


def _even_enough(at: np.ndarray, middle: slice, more: int) -> slice:
    """The frames in the middle and up to so many on each side, as far as the steps to them are alike."""
    steps = np.diff(at)
    gap = steps[min(middle.start, len(steps) - 1)]
    near = [1 / MOST_UNEVEN <= step / gap <= MOST_UNEVEN for step in steps]
    start, stop = middle.start, middle.stop
    while start > max(0, middle.start - more) and near[start - 1]:
        start -= 1
    while stop < min(len(at), middle.stop + more) and near[stop - 1]:
        stop += 1
    return slice(start, stop)


def _polynomial(at: np.ndarray, time: float) -> np.ndarray:
    """Weights of the polynomial through values at `at`, for its value at `time`."""
    others = [np.delete(at, n) for n in range(len(at))]
    return np.array([np.prod((time - other) / (place - other)) for place, other in zip(at, others, strict=True)])
