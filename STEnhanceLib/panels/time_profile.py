"""Intensities along a line over time: what moves, and how sharply, in one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer

from STEnhanceLib.beside import volume_of
from STEnhanceLib.evaluation.alignment import common_times, held_frames
from STEnhanceLib.node_times import frame_times
from STEnhanceLib.scene import describe_sequence
from STEnhanceLib.sequence import Grid

PICTURE_WIDTH = 420  # pixels
POINTS = 100  # along the line, one row of pixels each


def sample(sequence_node, line_mm: np.ndarray, points: int = POINTS) -> np.ndarray:
    """The voxels of every frame along a line, interpolated linearly; beyond the border its last voxel.

    Args:
        sequence_node: a sequence of scalar volumes.
        line_mm: (2, 3), its ends in RAS, with the transforms of the scene applied.

    Returns:
        (points, T) float32.
    """
    from scipy.ndimage import map_coordinates

    volume = volume_of(sequence_node)
    local_mm = np.linspace(*line_mm, points)
    if volume is not None:
        local_mm = _transformed(volume.TransformPointFromWorld, local_mm)
    kji = (np.c_[local_mm, np.ones(points)] @ np.linalg.inv(_ijk_to_ras(sequence_node)).T)[:, 2::-1].T
    columns = [
        map_coordinates(
            slicer.util.arrayFromVolume(sequence_node.GetNthDataNode(n)),
            kji,
            output=np.float32,
            order=1,
            mode="nearest",
        )
        for n in range(sequence_node.GetNumberOfDataNodes())
    ]
    return np.stack(columns, axis=1)


def default_line(sequence_node) -> np.ndarray:
    """From left to right through the centre of the middle slice, a tenth of the width away from the border; (2, 3)."""
    i, j, k = sequence_node.GetNthDataNode(0).GetImageData().GetDimensions()
    row, slice_ = (j - 1) / 2, (k - 1) // 2
    ends = np.array([[0.1 * (i - 1), row, slice_, 1], [0.9 * (i - 1), row, slice_, 1]])
    volume, ends_mm = volume_of(sequence_node), (ends @ _ijk_to_ras(sequence_node).T)[:, :3]
    return ends_mm if volume is None else _transformed(volume.TransformPointToWorld, ends_mm)


def picture(profile: np.ndarray, times_ms: np.ndarray, all_times_ms: np.ndarray, display_node) -> np.ndarray:
    """A profile as grey levels, time from left to right; every frame lasts until the next one, as views show it.

    Args:
        profile: (points, T), see `sample`.
        times_ms: (T,) of its frames.
        all_times_ms: of all compared sequences, so that their pictures lie under each other.
        display_node: gives window and level.

    Returns:
        (points, `PICTURE_WIDTH`) uint8.
    """
    last = all_times_ms[-1] + (np.diff(all_times_ms).min() if len(all_times_ms) > 1 else 1.0)
    times = np.linspace(all_times_ms[0], last, PICTURE_WIDTH, endpoint=False)
    grid = Grid((1, 1, 1), np.eye(4), times_ms)
    low = display_node.GetLevel() - display_node.GetWindow() / 2
    levels = np.clip((profile - low) / max(display_node.GetWindow(), 1e-9), 0, 1) * 255
    return np.rint(levels[:, held_frames(grid, times)]).astype(np.uint8)


def times_of(sequence_nodes) -> np.ndarray:
    """Every moment at which one of the sequences has a frame, in ms."""
    return common_times(Grid((1, 1, 1), np.eye(4), frame_times(node)[0]) for node in sequence_nodes)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write grey levels (rows, columns) uint8."""
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(path))


def _ijk_to_ras(sequence_node) -> np.ndarray:
    return describe_sequence(sequence_node)[0].ijk_to_ras


def _transformed(transform: Callable[[list, list], None], points_mm: np.ndarray) -> np.ndarray:
    """(N, 3) in mm, through a transform of a volume, which may bend."""
    moved = np.zeros(3)
    return np.array([transform(point.tolist(), moved) or moved.copy() for point in points_mm])
