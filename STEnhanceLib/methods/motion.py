"""Motion-compensated interpolation along the paths of the tissue, found by symmetric diffeomorphic registration.

The pixels of neighbouring frames are joined where their tissue is at the moment asked for; where nothing moves, they
are joined in place (`motion.registration`, `motion.trajectories`). Its notes say how far tissue moved, whether any warp
folded it, and on request how well measured frames come back from their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib import device, progress
from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.methods import output_times
from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.methods.output_times import Moment, OutputTimes
from STEnhanceLib.sequence import Grid, ImageSequence

if TYPE_CHECKING:
    from STEnhanceLib.motion.trajectories import MovingFrames, Place

FEWEST_TO_LEAVE_ONE_OUT = 3


@dataclass(frozen=True)
class MotionParameters(OutputTimes):
    """The moments to fill in, how stiff tissue is, and whether to test what was filled in."""

    stiffness: float = parameter(
        0.01,
        "How much neighbouring tissue moves alike; larger follows less detail, and less noise.",
        minimum=0.001,
        maximum=1.0,
    )
    check: bool = parameter(
        False,
        "Also leave out each measured frame in turn, interpolate it from its neighbours, and note by how much that is "
        "off: between frames half as far apart it will be better.",
        label="Test on measured frames",
    )


def enhance(sequence: ImageSequence, parameters: MotionParameters) -> Enhancement:
    """Register all neighbours, then fill in what lies between; measured frames stay as they are, bit for bit.

    Raises:
        STEnhanceError: fewer than two frames, or fewer than three where one is to be left out.
    """
    moments = parameters.moments(sequence.grid)
    if parameters.check and len(sequence) < FEWEST_TO_LEAVE_ONE_OUT:
        raise STEnhanceError(
            f"The sequence has {len(sequence)} frames; expected at least {FEWEST_TO_LEAVE_ONE_OUT} to leave one out "
            "and interpolate it from its neighbours. Switch check off."
        )
    notes = list(output_times.notes_on(parameters, sequence, moments))
    frames = _frames(sequence.magnitude(), sequence.grid, moments, parameters, notes)
    return Enhancement(output_times.grid_at(moments, sequence.grid), frames, notes)


def _frames(
    measured: np.ndarray, grid: Grid, moments: list[Moment], parameters: MotionParameters, notes: list[str]
) -> Iterator[EnhancedFrame]:
    from STEnhanceLib.motion.trajectories import MovingFrames

    moving = MovingFrames(measured, grid.spacing_mm, parameters.stiffness, device.chosen())
    paths = [_path(grid, (m.before - 1, m.before, m.before + 1, m.before + 2)) if m.fraction else [] for m in moments]
    moving.plan(paths)
    for moment, path in zip(moments, paths, strict=True):
        yield EnhancedFrame(moving.at(path, moment.time_ms) if path else measured[moment.before], moment.unsupported)
    if any(paths):
        notes.append(_of_motion(moving))
    if moving.in_plane and len(measured[0]) > 1:
        notes.append(f"Slices are {grid.spacing_mm[2]:.3g} mm apart, too far to follow motion from one to the next.")
    if parameters.check:
        notes.append(_left_out_in_turn(moving, grid))


def _path(grid: Grid, frames: tuple[int, ...]) -> list[Place]:
    """Those of the frames that there are, with their times; in a cycle there are all, of this one or the next."""
    from STEnhanceLib.motion.trajectories import Place

    count = len(grid)
    return [
        Place(n % count, grid.times_ms[n % count] + n // count * grid.period_ms)
        for n in frames
        if grid.periodic or 0 <= n < count
    ]


def _of_motion(moving: MovingFrames) -> str:
    folded = f"{moving.folds} control points of the motion are folded" if moving.folds else "Nothing is folded"
    return (
        f"Tissue moved by up to {moving.most_mm:.3g} mm from frame to frame. {folded} (smallest Jacobian determinant "
        f"{moving.least_volume:.2f})."
    )


def _left_out_in_turn(moving: MovingFrames, grid: Grid) -> str:
    """What comes of each measured frame that has neighbours on both sides when they alone are known."""
    count = len(grid)
    left_out = range(count) if grid.periodic else range(1, count - 1)
    paths = {n: _path(grid, (n - 2, n - 1, n + 1, n + 2)) for n in left_out}
    moving.plan(paths.values())
    scale = float(np.percentile(moving.frames, 99.9)) or 1.0
    errors = []
    for done, (n, path) in enumerate(paths.items()):
        progress.tell(f"testing frame {n + 1}", done / len(paths))
        off = moving.at(path, grid.times_ms[n]) - moving.frames[n]
        errors.append(100 * float(np.sqrt(np.mean(np.square(off)))) / scale)
    worst = left_out[int(np.argmax(errors))]
    return (
        "Measured frames that were left out in turn came back from their neighbours with root mean square errors of "
        f"{np.mean(errors):.2f} % of the 99.9th percentile, at most {max(errors):.2f} % in frame {worst + 1}; frames "
        f"{left_out[0] + 1} to {left_out[-1] + 1}: {' '.join(f'{error:.2f}' for error in errors)} %."
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
