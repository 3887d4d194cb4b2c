"""Slices between slices: what structures look like on their way from one slice to the next.

Structures lie elsewhere in each slice, as tissue does in each frame; blending them in place leaves ghosts of both. The
engine that follows tissue from frame to frame therefore follows structures from slice to slice, within the planes:
registration-based interpolation, after Penney et al., IEEE Trans Med Imaging 2004; 23:922-926.
"""

from __future__ import annotations

import numpy as np

from STEnhanceLib.motion import STIFFNESS
from STEnhanceLib.motion.course import Place
from STEnhanceLib.motion.trajectories import MovingFrames

REACH = 2  # slices on each side


def interpolated(stack: np.ndarray, places: np.ndarray, spacing_ij: tuple[float, float], device: str) -> np.ndarray:
    """Slices at any places within a stack; where one was measured, it is returned as it is.

    Args:
        stack: (K, J, I) float32 of at least 2 slices, on an intensity scale of about 1.
        places: (N,) in slices, 0 … K − 1.
        spacing_ij: pixel size along (i, j) in mm.
        device: where torch computes.

    Returns:
        (N, J, I) float32.
    """
    slices = np.ascontiguousarray(stack[:, None])
    moving = MovingFrames(slices, (*spacing_ij, 1.0), STIFFNESS, device, scale=1.0)
    whole = np.floor(places).astype(int)
    paths = [[Place(k, float(k)) for k in range(max(0, n - REACH + 1), min(len(stack), n + REACH + 1))] for n in whole]
    between = whole != places
    moving.plan(path for path, wanted in zip(paths, between, strict=True) if wanted)
    return np.stack(
        [
            moving.at(path, float(place)).voxels[0] if wanted else stack[n]
            for n, path, place, wanted in zip(whole, paths, places, between, strict=True)
        ]
    )
