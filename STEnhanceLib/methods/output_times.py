"""The moments that temporal interpolation fills in, and between which measured frames each of them lies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods.declaration import parameter
from STEnhanceLib.motion import course
from STEnhanceLib.motion.course import Place
from STEnhanceLib.origin import SAME_MOMENT_MS
from STEnhanceLib.sequence import Grid, ImageSequence

MAGNITUDE_NOTE = "The images are complex; their magnitude was interpolated."
NOT_BRIGHTNESS_NOTE = (
    "The images go far below zero, as velocity and phase do: these do not move along with tissue as brightness does, "
    "so that its motion may be followed wrongly. Test it by check, and compare with linear."
)
LARGEST_LEAP = 2.2  # median steps; the cines of three hearts take 1.1 to 1.8 to close, their first halves 2.5 to 2.9
FEWEST_TO_COMPARE = 5


class Moment(NamedTuple):
    """A time of the result.

    Attributes:
        time_ms: when.
        before, after: indices of the measured frames around it; `after` is 0 where a cycle closes.
        fraction: of the way from `before` to `after`, 0 … 1; exactly 0 for a measured frame.
    """

    time_ms: float
    before: int
    after: int
    fraction: float

    @property
    def unsupported(self) -> float:
        """0 where the scanner measured this moment, 1 where it did not."""
        return 0.0 if self.fraction == 0 else 1.0


@dataclass(frozen=True)
class OutputTimes:
    """The parameters that say which moments to fill in. At most one of the optional ones may be given."""

    factor: int = parameter(
        2,
        "How many frames replace one: factor − 1 new ones, equally spaced, after each measured one.",
        minimum=2,
        maximum=16,
    )
    frame_duration_ms: float | None = parameter(
        None,
        "Equal time between all frames of the result, instead of a factor.",
        minimum=0.1,
        unit="ms",
        label="New frame duration",
    )
    frame_rate: float | None = parameter(
        None,
        "Frames per second in the result, instead of a factor.",
        minimum=0.1,
        maximum=10000.0,
        unit="1/s",
        label="New frame rate",
    )
    times_ms: str | None = parameter(
        None,
        "The very times of the result, separated by commas, instead of a factor.",
        unit="ms",
        label="New times",
    )

    @property
    def spacing_ms(self) -> float | None:
        """The equal time between frames that was asked for, if it was."""
        return 1000 / self.frame_rate if self.frame_rate is not None else self.frame_duration_ms

    def moments(self, source: Grid) -> list[Moment]:
        """The times of the result, in order, each with its place among the measured frames.

        Raises:
            STEnhanceError: fewer than two frames, several optional parameters given, or times that are no numbers,
                do not increase, or lie outside the measured time.
        """
        if len(source) < 2:
            raise STEnhanceError("The sequence has 1 frame; expected at least 2 to fill in the time between them.")
        names = ("frame_duration_ms", "frame_rate", "times_ms")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise STEnhanceError(f"{' and '.join(given)} were given; expected one of them. Leave the others out.")
        if self.times_ms is not None:
            return _located(_parsed(self.times_ms), source)
        if self.spacing_ms is not None:
            return _located(_uniform(self.spacing_ms, source), source)
        steps = np.arange(self.factor) / self.factor
        gaps = [
            Moment(start + step * (end - start), n, (n + 1) % len(source), step)
            for n, (start, end) in enumerate(_gaps(source))
            for step in steps.tolist()
        ]
        return gaps if source.periodic else [*gaps, Moment(source.times_ms[-1].item(), len(source) - 1, 0, 0.0)]


def by_gap(moments: list[Moment]) -> list[list[Moment]]:
    """The moments in their order, those together that lie between the same two measured frames."""
    return [list(gap) for _, gap in itertools.groupby(moments, key=lambda moment: (moment.before, moment.after))]


def path_through(frames: Iterable[int], grid: Grid) -> list[Place]:
    """Those of the frames that there are, in the order of time; in a cycle there are all, of this one or the next."""
    return course.path_through(frames, grid.times_ms, grid.period_ms if grid.periodic else None)


def as_text(times_ms) -> str:
    """Times in ms as the parameter `times_ms` takes them, without loss."""
    return ",".join(repr(float(time)) for time in times_ms)


def grid_at(moments: list[Moment], source: Grid) -> Grid:
    """The grid of the result: the voxels of `source` at the given moments; a cycle where these go all around one."""
    grid = source.at_times(np.array([moment.time_ms for moment in moments]))
    goes_around = abs(grid.period_ms - source.period_ms) <= grid.frame_duration_ms / 2  # no, too, for a single frame
    return replace(grid, periodic=source.periodic and goes_around)


def notes_on(parameters: OutputTimes, sequence: ImageSequence, moments: list[Moment]) -> tuple[str, ...]:
    """What every interpolation has to say: how complex input, wanted spacing and the cycle were treated."""
    notes = [MAGNITUDE_NOTE] if np.iscomplexobj(sequence.frames) else []
    if parameters.spacing_ms is not None and len(moments) > 1:
        found = moments[1].time_ms - moments[0].time_ms
        if abs(found - parameters.spacing_ms) > 1e-3 * parameters.spacing_ms:
            notes.append(
                f"Frames are {found:.4g} ms apart instead of {parameters.spacing_ms:.4g} ms: the cycle must close."
            )
    if any(moment.after == 0 and moment.fraction > 0 for moment in moments):
        gap = sequence.grid.frame_duration_ms
        notes.append(f"The first frame was assumed to return {gap:.4g} ms (median frame duration) after the last one.")
    leap = _leap_where_cycle_closes(sequence) if sequence.periodic else 0.0
    if leap > LARGEST_LEAP:
        notes.append(
            f"From the last frame to the first the images change {leap:.3g} times as much as between neighbours: if "
            "this is not one full cycle, mark it as not periodic, else frames are made up between the two."
        )
    return tuple(notes)


def _leap_where_cycle_closes(sequence: ImageSequence) -> float:
    """By how much the last frame differs from the first, compared with the median of all neighbours; 0 of few."""
    if len(sequence) < FEWEST_TO_COMPARE:
        return 0.0
    coarse = np.abs(sequence.frames[:, :, ::4, ::4])
    steps = np.square(np.roll(coarse, -1, axis=0) - coarse).mean((1, 2, 3))
    median = float(np.median(steps[:-1]))
    return float(np.sqrt(steps[-1] / median)) if median > 0 else 0.0


def _gaps(source: Grid) -> list[tuple[float, float]]:
    """Start and end of the time between neighbouring frames, in ms; with the gap that closes a cycle."""
    ends = source.times_ms.tolist()
    if source.periodic:
        ends.append(ends[0] + source.period_ms)
    return list(itertools.pairwise(ends))


def _parsed(text: str) -> np.ndarray:
    try:
        times = np.array([float(word) for word in text.split(",")])
    except ValueError:
        raise STEnhanceError(f"times_ms={text!r} was given; expected numbers in ms, such as 12.5,30,47.5.") from None
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise STEnhanceError(f"times_ms={text!r} was given; expected finite, strictly increasing times. Sort them.")
    return times


def _uniform(step_ms: float, source: Grid) -> np.ndarray:
    start = source.times_ms[0]
    if source.periodic:  # the cycle closes only if the step divides it
        count = max(1, round(source.period_ms / step_ms))
        return start + source.period_ms / count * np.arange(count)
    return start + step_ms * np.arange(int((source.times_ms[-1] - start + SAME_MOMENT_MS) / step_ms) + 1)


def _located(times_ms: np.ndarray, source: Grid) -> list[Moment]:
    starts, ends = np.array(_gaps(source)).T
    if times_ms[0] < starts[0] - SAME_MOMENT_MS or times_ms[-1] > ends[-1] + SAME_MOMENT_MS:
        raise STEnhanceError(
            f"Times from {times_ms[0]:g} to {times_ms[-1]:g} ms were asked for, but the frames reach from "
            f"{starts[0]:g} to {ends[-1]:g} ms; expected times within, because outside nothing was measured."
        )
    before = np.clip(np.searchsorted(starts, times_ms + SAME_MOMENT_MS, side="right") - 1, 0, len(starts) - 1)
    moments = []
    for time, n in zip(times_ms.tolist(), before.tolist(), strict=True):
        after = (n + 1) % len(source)
        if abs(time - starts[n]) <= SAME_MOMENT_MS:
            moments.append(Moment(time, n, after, 0.0))
        elif abs(time - ends[n]) <= SAME_MOMENT_MS:
            moments.append(Moment(time, after, (after + 1) % len(source), 0.0))
        else:
            moments.append(Moment(time, n, after, float((time - starts[n]) / (ends[n] - starts[n]))))
    return moments
