"""What a method took out of a sequence: input minus result, frame by frame and by temporal frequency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.alignment import SAME_TIME_MS
from STEnhanceLib.sequence import Grid, ImageSequence

CONTENT = "STEnhance.Content"
CLOSE_MM = 1e-3
EVENLY = 0.01  # frame durations that differ by less than this part of each other are one


def on_one_grid(a: Grid, b: Grid) -> bool:
    """Whether two sequences have the same voxels at the same times, so that one can be subtracted from the other."""
    return (
        a.shape == b.shape
        and len(a) == len(b)
        and np.allclose(a.ijk_to_ras, b.ijk_to_ras, atol=CLOSE_MM)
        and np.allclose(a.times_ms, b.times_ms, atol=SAME_TIME_MS)
    )


def removed(before: ImageSequence, result: ImageSequence) -> ImageSequence:
    """The signed difference of the magnitudes, with the provenance of the result.

    Args:
        before: the input of a method.
        result: what the method made of it, on the same grid.

    Raises:
        STEnhanceError: the two do not lie on one grid.
    """
    check_grid(before.grid, result.grid)
    method = result.attributes.get("STEnhance.MethodTitle", result.name or "the method")
    content = f"Input minus result: what {method} removed, in units of the input; below 0 where it added."
    return replace(
        result,
        frames=before.magnitude() - result.magnitude(),
        name=f"{before.name} (removed by {method})",
        attributes={**result.attributes, CONTENT: content},
    )


def check_grid(before: Grid, result: Grid) -> None:
    """Whether there will be something to subtract.

    Raises:
        STEnhanceError: the two grids differ.
    """
    if not on_one_grid(before, result):
        raise STEnhanceError(
            f"What was removed is input minus result, but the input has {len(before)} frames of (K, J, I) = "
            f"{before.shape} and the result {len(result)} of {result.shape}, or they lie at other places or times; "
            "expected the same grid. Ask for it where a method cleans images without resampling them."
        )


def amplitudes(frames: np.ndarray) -> np.ndarray:
    """The temporal spectrum of every voxel: its mean over time, then the amplitude of each oscillation.

    Args:
        frames: (T, …) real.

    Returns:
        (T // 2 + 1, …) float32 in units of the frames.
    """
    spectrum = np.abs(np.fft.rfft(frames, axis=0, norm="forward")).astype(np.float32)
    spectrum[1 : (len(frames) + 1) // 2] *= 2  # an oscillation has half of its amplitude at its negative frequency
    return spectrum


def mean_amplitudes(frames: np.ndarray) -> np.ndarray:
    """The mean of `amplitudes` over all voxels, slice by slice so that it fits the memory; (T // 2 + 1,)."""
    slices = range(frames.shape[1])
    return np.mean([amplitudes(frames[:, k]).mean(axis=(1, 2), dtype=np.float64) for k in slices], axis=0)


def frequencies(grid: Grid) -> tuple[np.ndarray, str] | None:
    """The frequencies of `amplitudes` and their unit: cycles per beat where time is a cycle, else Hz.

    Returns:
        None where there are fewer than four frames or their distances differ, so that there is no spectrum.
    """
    if len(grid) < 4 or np.ptp(np.diff(grid.times_ms)) > EVENLY * grid.frame_duration_ms:
        return None
    if grid.periodic:
        return np.arange(len(grid) // 2 + 1, dtype=float), "cycles per beat"
    return np.fft.rfftfreq(len(grid), grid.frame_duration_ms / 1000), "Hz"
