"""Motion-compensated interpolation along the paths of the tissue, found by symmetric diffeomorphic registration.

The pixels of neighbouring frames are joined where their tissue is at the moment asked for; where nothing moves, they
are joined in place (`motion.registration`, `motion.trajectories`). Its notes say how far tissue moved, whether any warp
folded it, and on request how well measured frames come back from their neighbours; the motion itself can be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import learned, left_out, output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, SideMap, Task, parameter
from STEnhanceLib.methods.left_out import ERROR_MAP, LeftOut
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.motion import STIFFNESS, course, leaps
from STEnhanceLib.sequence import Grid, ImageSequence

if TYPE_CHECKING:
    from STEnhanceLib.motion.course import Place

FEWEST_OF_A_CYCLE = 5  # two harmonics
LEAP_NOTE = (
    "Between some frames the brightness of the whole image leaps by more than half; what lies beyond such a leap was "
    "not used to tell how tissue moves on."
)
MOTION_MAP = SideMap("motion", "motion from the first frame", unit="mm", vector=True)


@dataclass(frozen=True)
class MotionParameters(OutputTimes):
    """The moments to fill in, how stiff tissue is, what is known of its course, and what to tell beside the frames."""

    stiffness: float = parameter(
        STIFFNESS,
        "How much neighbouring tissue moves alike; larger follows less detail, and less noise.",
        minimum=0.001,
        maximum=1.0,
    )
    whole_cycle: bool = parameter(
        False,
        "Fit the places of tissue all around a full cycle by harmonics, so that its motion is smooth and closes, "
        "instead of following the four frames around each moment.",
        label="Fit the whole cycle",
    )
    keep_measured: bool = parameter(
        True,
        "Leave measured frames as they are, bit for bit; else they too are made along the paths, and all frames from "
        "the five or six around them, so that all are equally free of noise.",
        label="Originals untouched",
    )
    check: bool = left_out.check_parameter()
    motion_field: bool = parameter(
        False,
        "Also keep where the tissue of each voxel of the first frame is at each moment, in mm.",
        label="Keep the motion",
    )


def enhance(sequence: ImageSequence, parameters: MotionParameters) -> Enhancement:
    """Register all neighbours, then fill in what lies between; measured frames stay as they are, bit for bit.

    Unless `keep_measured` is off: then no frame is a measured one, and all are marked as unsupported.

    Raises:
        STEnhanceError: fewer than two frames, or fewer than three where one is to be left out; no full cycle of at
            least five, where one is to be fitted, or frames too unevenly spaced for that.
    """
    moments = parameters.moments(sequence.grid)
    if parameters.check:
        left_out.refuse_too_few(sequence.grid)
    notes = list(output_times.notes_on(parameters, sequence, moments))
    paths = [_path(sequence.grid, moment, parameters) for moment in moments]
    if parameters.whole_cycle:
        _check_cycle(sequence.grid, moments, paths)
    if not parameters.keep_measured:
        notes.append("Frames at the times of measured ones were made along the paths too: none is left as measured.")
    maps = ([ERROR_MAP] if parameters.check else []) + ([MOTION_MAP] if parameters.motion_field else [])
    frames = _frames(sequence, moments, paths, parameters, notes)
    return Enhancement(output_times.grid_at(moments, sequence.grid), frames, notes, maps=tuple(maps))


def _frames(
    sequence: ImageSequence,
    moments: list[Moment],
    paths: list[list[Place]],
    parameters: MotionParameters,
    notes: list[str],
) -> Iterator[EnhancedFrame]:
    from STEnhanceLib.motion.following import TissueOfFirstFrame
    from STEnhanceLib.motion.trajectories import MovingFrames

    measured, grid = sequence.magnitude(), sequence.grid
    if learned.far_below_zero(measured):
        notes.append(output_times.NOT_BRIGHTNESS_NOTE)
    cycle_ms = grid.period_ms if parameters.whole_cycle else None
    moving = MovingFrames(
        measured, grid.spacing_mm, parameters.stiffness, device.chosen(), cycle_ms, parameters.keep_measured
    )
    without = _paths_without_one(grid, parameters) if parameters.check else {}
    if not parameters.whole_cycle:  # which takes all frames
        brightness = leaps.brightness_of(measured)
        paths, whole = _cut(paths, [_time_ms(grid, moment) for moment in moments], brightness), paths
        without = dict(zip(without, _cut(without.values(), grid.times_ms[list(without)], brightness), strict=True))
        if paths != whole:
            notes.append(LEAP_NOTE)
    tested = None
    if parameters.check:
        tested = LeftOut(measured, grid, lambda n: moving.at(without[n], grid.times_ms[n]).voxels)
    tissue = None
    if parameters.motion_field:
        everywhere = output_times.path_through(range(len(grid) + grid.periodic), grid)
        tissue = TissueOfFirstFrame(moving, everywhere, grid.ijk_to_ras)
    ahead = [[without[n] for n in tested.numbers_for(moment)] if tested else [] for moment in moments]
    moving.plan(each for path, also in zip(paths, ahead, strict=True) for each in (path, *also))
    volumes, folds = [], 0
    for moment, path in zip(moments, paths, strict=True):
        voxels = measured[moment.before]
        if path:
            joined = moving.at(path, _time_ms(grid, moment))
            voxels = joined.voxels
            volumes.append(joined.least_volume)
            folds += joined.folds
        maps = {ERROR_MAP.key: tested.map_at(moment)} if tested else {}
        if tissue is not None:
            maps[MOTION_MAP.key] = tissue.at(moment.before, moment.fraction, path)
        yield EnhancedFrame(voxels, 1.0 if path else moment.unsupported, maps)
    if any(paths):
        notes.append(_of_motion(max(moving.furthest_mm(path) for path in paths if path), min(volumes), folds))
    if moving.in_plane and len(measured[0]) > 1:
        notes.append(f"Slices are {grid.spacing_mm[2]:.3g} mm apart, too far to follow motion from one to the next.")
    if tested:
        notes.extend(tested.notes())


def _path(grid: Grid, moment: Moment, parameters: MotionParameters) -> list[Place]:
    """The frames that tell about a moment; none where the measured frame itself is to stay."""
    n = moment.before
    if moment.fraction == 0 and parameters.keep_measured:
        return []
    around = range(n - 1, n + 3) if parameters.keep_measured else range(n - 2, n + 3 + (moment.fraction > 0))
    if parameters.whole_cycle:
        around = _once_around(grid, n)
    return output_times.path_through(around, grid)


def _paths_without_one(grid: Grid, parameters: MotionParameters) -> dict[int, list[Place]]:
    """Of each measured frame with neighbours on both sides, the path along them alone."""
    paths = {}
    for n in left_out.with_neighbours(grid):
        around = _once_around(grid, n) if parameters.whole_cycle else range(n - 2, n + 3)
        paths[n] = output_times.path_through((m for m in around if m != n), grid)
    return paths


def _cut(paths: Iterable[list[Place]], times_ms: Iterable[float], brightness: np.ndarray) -> list[list[Place]]:
    return [
        leaps.between_leaps(path, time, brightness) if path else path
        for path, time in zip(paths, times_ms, strict=True)
    ]


def _once_around(grid: Grid, n: int) -> range:
    return range(n - (len(grid) - 1) // 2, n + len(grid) // 2 + 1)


def _time_ms(grid: Grid, moment: Moment) -> float:
    """Of a measured frame exactly its own: the times asked for may be off by a rounding error."""
    return moment.time_ms if moment.fraction else float(grid.times_ms[moment.before])


def _check_cycle(grid: Grid, moments: list[Moment], paths: list[list[Place]]) -> None:
    if not grid.periodic or len(grid) < FEWEST_OF_A_CYCLE:
        found = f"has {len(grid)} frames" if grid.periodic else "is not marked as one full cycle"
        raise STEnhanceError(
            f"The sequence {found}, but whole_cycle fits a full cycle of at least {FEWEST_OF_A_CYCLE} frames. Mark it "
            "as periodic if its last frame is followed by the first, or switch whole_cycle off."
        )
    errors = [
        np.linalg.norm(course.harmonics(path, _time_ms(grid, moment), grid.period_ms))
        for moment, path in zip(moments, paths, strict=True)
        if path
    ]
    if max(errors, default=0.0) > course.MOST_AMPLIFICATION:
        raise STEnhanceError(
            f"The frames are so unevenly spaced in time that whole_cycle would amplify errors {max(errors):.0f} times; "
            f"expected at most {course.MOST_AMPLIFICATION:g} times. Switch whole_cycle off."
        )


def _of_motion(furthest_mm: float, least_volume: float, folds: int) -> str:
    folded = f"{folds} control points of the motion are folded" if folds else "Nothing is folded"
    return (
        f"Tissue moved by up to {furthest_mm:.3g} mm from frame to frame. {folded} (smallest Jacobian determinant "
        f"{least_volume:.2f})."
    )


METHOD = Method(
    key="motion",
    title="Motion along paths",
    task=Task.TEMPORAL_INTERPOLATION,
    summary="Follows the tissue through neighbouring frames: sharp where it moves, and as safe as blending where not.",
    parameters=MotionParameters,
    enhance=enhance,
    reference="Ashburner: A fast diffeomorphic image registration algorithm. NeuroImage 2007; 38:95-113; "
    "local correlation after Avants et al., Med Image Anal 2008; 12:26-41.",
    requires=("torch",),
    preview_frames=4,
    rank=5,
)
