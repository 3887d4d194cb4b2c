"""Brings the sequences of a comparison together: one time axis, one field of view, one baseline."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.sequence import Grid, ImageSequence

SAME_TIME_MS = 0.1  # file formats round times; no two frames of a heart are this close


def common_times(grids: Iterable[Grid]) -> np.ndarray:
    """Every moment at which any of the sequences has a frame, in ms, each once."""
    times = np.sort(np.concatenate([grid.times_ms for grid in grids]))
    return times[np.r_[True, np.diff(times) > SAME_TIME_MS]]


def frames_at(grid: Grid, times_ms: np.ndarray) -> np.ndarray:
    """Index of the frame of `grid` at each time; -1 where it has none."""
    held = held_frames(grid, times_ms)
    return np.where(np.abs(grid.times_ms[held] - times_ms) <= SAME_TIME_MS, held, -1)


def held_frames(grid: Grid, times_ms: np.ndarray) -> np.ndarray:
    """Index of the frame that a viewer shows at each time: the last one that has begun, as Slicer does."""
    return np.maximum(np.searchsorted(grid.times_ms, times_ms + SAME_TIME_MS, side="right") - 1, 0)


def field_of_view(grid: Grid, onto: Grid) -> tuple[float, float, float, float]:
    """Where the outer borders of a slice of `grid` lie in a slice of `onto`.

    Returns:
        left, top, width, height in voxels of `onto`, from the outer corner of its first voxel.

    Raises:
        STEnhanceError: the slices are turned or mirrored against each other.
    """
    to_onto = _index_map(grid, onto)
    scale = np.diag(to_onto)[:3]
    drift = np.abs(to_onto[:3, :3] - np.diag(scale)) @ np.array(grid.shape[::-1])
    if drift.max() > 0.5 or scale.min() <= 0:
        raise STEnhanceError(
            f"The slices of two sequences ({_size(grid)} and {_size(onto)}) are turned, sheared or mirrored against "
            "each other; a comparison expects parallel image axes. Resample one of them onto the other's grid."
        )
    left, top = to_onto[:2, 3] - scale[:2] / 2 + 0.5
    return float(left), float(top), float(scale[0] * grid.shape[2]), float(scale[1] * grid.shape[1])


def slice_at(grid: Grid, onto: Grid, k: int) -> int:
    """The slice of `grid` that lies nearest to slice `k` of `onto`."""
    _, rows, columns = onto.shape
    centre = np.array([(columns - 1) / 2, (rows - 1) / 2, k, 1.0])
    return int(np.clip(np.rint((_index_map(onto, grid) @ centre)[2]), 0, grid.shape[0] - 1))


def interpolated(sequence: ImageSequence, grid: Grid) -> np.ndarray:
    """The sequence at the voxels and times of `grid`, interpolated linearly in space and time.

    This is what a viewer shows when no method is used. Outside of the field of view the border voxel is repeated;
    beyond the last frame the cycle closes where the sequence is periodic and the last frame stays where it is not.

    Returns:
        (T, K, J, I) float32 magnitude.
    """
    from scipy.ndimage import affine_transform

    to_source = _index_map(grid, sequence.grid)[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
    source, times, indices = sequence.magnitude(), sequence.times_ms, np.arange(len(sequence))
    if sequence.periodic and len(sequence) > 1:
        times, indices = np.append(times, times[0] + sequence.grid.period_ms), np.append(indices, 0)
    position = np.interp(grid.times_ms, times, np.arange(len(times)))
    begun = np.minimum(position.astype(int), len(times) - 1)
    weight = (position - begun).astype(np.float32)
    before, after = indices[begun], indices[np.where(weight > 0, np.minimum(begun + 1, len(times) - 1), begun)]
    in_place = np.allclose(to_source, np.eye(4), atol=1e-4) and grid.shape == sequence.grid.shape
    # Only frames that count are resampled, so that asking for a single moment costs little.
    placed = {
        n: source[n]
        if in_place
        else affine_transform(source[n], to_source, output_shape=grid.shape, order=1, mode="nearest")
        for n in {*before.tolist(), *after.tolist()}
    }
    frames = np.empty((len(grid), *grid.shape), np.float32)
    for frame, a, b, w in zip(frames, before.tolist(), after.tolist(), weight, strict=True):
        frame[...] = (1 - w) * placed[a] + w * placed[b]
    return frames


def _index_map(source: Grid, target: Grid) -> np.ndarray:
    """(i, j, k) of `source` to (i, j, k) of `target`, 4×4."""
    return np.linalg.inv(target.ijk_to_ras) @ source.ijk_to_ras


def _size(grid: Grid) -> str:
    k, j, i = grid.shape
    return f"{i}×{j}×{k} voxels"
