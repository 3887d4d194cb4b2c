"""Breath-hold correction: slices that lie beside their neighbours are moved back within their planes, the same in all
frames, because every slice was measured in a breath-hold of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib.methods.declaration import EnhancedFrame, Enhancement, Method, Task, parameter
from STEnhanceLib.sequence import Grid, ImageSequence

if TYPE_CHECKING:
    from STEnhanceLib.motion.slice_alignment import Differences

LEAST_PIXELS = 0.5  # unmoved stacks of four hearts seem off by 0.2 pixels, since anatomy is never quite smooth
LEAST_GAIN, LEAST_DELAY = 0.02, 0.2  # of the brightness; frames
FEWEST_FRAMES = 5  # to tell how late a slice is
NAMED = 3
SIDES = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))  # + and − of RAS
TOO_FEW = (
    "Nothing was aligned: slices are compared with both of their neighbours, and there are {} slices, not 3 or more."
)
NOTHING = "No slice differs from its neighbours by enough to be sure of, so nothing was corrected."
HOW = (
    "What changes smoothly from slice to slice was taken for anatomy and left. Whether slices lie wrong across their "
    "planes cannot be told from the stack alone."
)


@dataclass(frozen=True)
class AlignSlicesParameters:
    """What to correct."""

    shifts: bool = parameter(True, "Move slices back within their planes.")
    brightness: bool = parameter(
        False, "Scale slices that are brighter or darker than a smooth course along the stack; changes intensities."
    )
    phase: bool = parameter(
        False, "Shift slices in time whose beat comes earlier or later than that of their neighbours.", label="Beat"
    )


def enhance(sequence: ImageSequence, parameters: AlignSlicesParameters) -> Enhancement:
    """Find what differs between the slices from all frames, then correct frame by frame; the grid stays as it is.

    Voxels that were fetched from beyond the edge of the image repeat it, and are marked as unsupported.
    """
    from STEnhanceLib.motion.slice_alignment import FEWEST_SLICES

    notes, slices = [], sequence.grid.shape[0]
    if np.iscomplexobj(sequence.frames):
        notes.append("The images are complex; their magnitude was aligned.")
    if slices < FEWEST_SLICES:
        notes.append(TOO_FEW.format(slices))
        return Enhancement(sequence.grid, _as_they_are(sequence), notes)
    if parameters.phase and len(sequence) < FEWEST_FRAMES:
        notes.append(f"The beat was left as it is: {len(sequence)} frames are too few to compare it.")
    notes.append(HOW)
    return Enhancement(sequence.grid, _frames(sequence, parameters, notes), notes)


def _as_they_are(sequence: ImageSequence) -> Iterator[EnhancedFrame]:
    for frame in sequence.frames:
        yield EnhancedFrame(np.abs(frame) if np.iscomplexobj(frame) else frame, 0.0)


def _frames(sequence: ImageSequence, parameters: AlignSlicesParameters, notes: list[str]) -> Iterator[EnhancedFrame]:
    from STEnhanceLib.motion.slice_alignment import earlier

    found = differences(sequence, parameters)
    notes.extend(described(found, sequence.grid))
    corrected, outside = corrector(found, sequence.grid.shape)
    late = np.flatnonzero(found.delays)
    stack = sequence.magnitude()
    in_time = {k: earlier(stack[:, k], found.delays[k], sequence.periodic) for k in late}
    for t, frame in enumerate(stack):
        slices = [in_time[k][t] if k in in_time else image for k, image in enumerate(frame)]
        yield EnhancedFrame(corrected(np.stack(slices)), outside)


def aligned(sequence: ImageSequence, notes: list[str]) -> ImageSequence:
    """A sequence whose slices were moved back, for methods that go on from there; `notes` get what was moved."""
    from STEnhanceLib.motion.slice_alignment import FEWEST_SLICES

    slices = sequence.grid.shape[0]
    if slices < FEWEST_SLICES:
        notes.append(TOO_FEW.format(slices))
        return sequence
    found = differences(sequence, AlignSlicesParameters())
    notes.extend(described(found, sequence.grid))
    corrected, _ = corrector(found, sequence.grid.shape)
    return replace(sequence, frames=np.stack([corrected(frame) for frame in sequence.frames]))


def differences(sequence: ImageSequence, parameters: AlignSlicesParameters) -> Differences:
    """What is to be corrected; 0, or a gain of 1, where a difference is too small to be sure of, or not asked for."""
    from STEnhanceLib.motion.slice_alignment import Differences, find

    phase = parameters.phase and len(sequence) >= FEWEST_FRAMES
    found = find(sequence.magnitude(), brightness=parameters.brightness, phase=phase, periodic=sequence.periodic)
    far = (np.hypot(*found.shifts.T) >= LEAST_PIXELS) & parameters.shifts
    other = np.abs(np.log(found.gains)) >= LEAST_GAIN
    late = np.abs(found.delays) >= LEAST_DELAY
    return Differences(found.shifts * far[:, None], np.where(other, found.gains, 1.0), found.delays * late)


def corrector(
    found: Differences, shape: tuple[int, int, int]
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray | float]:
    """What moves and scales the slices of a (K, J, I) frame, and where that fetches from beyond the edge, 0 or 1."""
    from STEnhanceLib.motion.slice_alignment import moved

    aside = np.flatnonzero(found.shifts.any(axis=1))
    outside = np.zeros(shape, np.float32) if len(aside) else 0.0
    for k in aside:
        rows, columns = (_beyond(size, pixels) for size, pixels in zip(shape[1:], found.shifts[k], strict=True))
        outside[k] = rows[:, None] | columns

    def corrected(frame: np.ndarray) -> np.ndarray:
        result = frame / found.gains[:, None, None].astype(np.float32)
        for k in aside:
            result[k] = moved(result[k], -found.shifts[k])
        return result

    return corrected, outside


def _beyond(size: int, pixels: float) -> np.ndarray:
    fetched = np.arange(size) + pixels
    return (fetched < 0) | (fetched > size - 1)


def described(found: Differences, grid: Grid) -> list[str]:
    """What was corrected, the largest first."""
    back = -found.shifts[:, ::-1] @ grid.ijk_to_ras[:3, :2].T  # (K, 3) in mm along right, anterior, superior
    far, gains, late_ms = np.linalg.norm(back, axis=1), found.gains, found.delays * grid.frame_duration_ms
    moves = [f"slice {k + 1} by {far[k]:.1f} mm ({_directions(back[k])})" for k in _largest(far)]
    scales = [f"slice {k + 1} by {100 / gains[k] - 100:+.0f} %" for k in _largest(np.log(gains))]
    times = [
        f"slice {k + 1} by {abs(late_ms[k]):.0f} ms {'earlier' if late_ms[k] > 0 else 'later'}"
        for k in _largest(found.delays)
    ]
    corrected = {"Moved": moves, "Made brighter or darker": scales, "Shifted in time": times}
    return [f"{what}: {_named(parts)}." for what, parts in corrected.items() if parts] or [NOTHING]


def _largest(sizes: np.ndarray) -> list[int]:
    return [k for k in np.argsort(-np.abs(sizes), kind="stable").tolist() if sizes[k]]


def _directions(ras_mm: np.ndarray) -> str:
    """For example 1.6 right, 0.8 superior: those that matter, the largest first."""
    least = max(0.1, np.abs(ras_mm).max() / 5)
    order = [axis for axis in np.argsort(-np.abs(ras_mm)).tolist() if abs(ras_mm[axis]) >= least]
    return ", ".join(f"{abs(ras_mm[axis]):.1f} {SIDES[axis][int(ras_mm[axis] < 0)]}" for axis in order)


def _named(parts: list[str]) -> str:
    rest = len(parts) - NAMED
    return ", ".join(parts[:NAMED]) + (f", and {rest} more by less" if rest > 0 else "")


METHOD = Method(
    key="align-slices",
    title="Breath-hold correction",
    task=Task.ARTEFACT_REDUCTION,
    summary="Moves slices of a stack back that lie beside their neighbours, because each was held in another breath.",
    parameters=AlignSlicesParameters,
    enhance=enhance,
    reference="After Lucas, Kanade: An iterative image registration technique with an application to stereo vision. "
    "IJCAI 1981; 674-679.",
    rank=40,
    preview_frames=5,
)
