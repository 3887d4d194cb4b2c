"""Intensities along a line over time: what moves, and how sharply, in one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer

from STEnhanceLib.evaluation.alignment import common_times, held_frames
from STEnhanceLib.node_times import frame_times
from STEnhanceLib.scene import find_sequence
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

    ends = np.c_[line_mm, np.ones(2)] @ np.linalg.inv(_to_world(sequence_node)).T
    kji = np.linspace(ends[0], ends[1], points)[:, 2::-1].T
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
    return (ends @ _to_world(sequence_node).T)[:, :3]


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


def _to_world(sequence_node) -> np.ndarray:
    """IJK to RAS of a sequence's frames, with the linear transform of the volume that shows it; 4×4."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    sequence_node.GetNthDataNode(0).GetIJKToRASMatrix(matrix)
    to_world = slicer.util.arrayFromVTKMatrix(matrix)
    browser = find_sequence(sequence_node)[1]
    proxy = browser.GetProxyNode(sequence_node) if browser is not None else None
    transform = proxy.GetParentTransformNode() if proxy is not None else None
    if transform is not None and transform.IsTransformToWorldLinear():
        transform.GetMatrixTransformToWorld(matrix)
        to_world = slicer.util.arrayFromVTKMatrix(matrix) @ to_world
    return to_world
