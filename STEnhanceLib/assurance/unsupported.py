"""How much of each voxel the measurement does not support."""

from __future__ import annotations

import numpy as np


def fraction(invented: np.ndarray, value: np.ndarray, dark: float = 0.0) -> np.ndarray:
    """|invented| / |value| of each voxel, at most 1; 0 where both are 0.

    Args:
        invented: the part of `value` that was not measured, real or complex.
        value: the voxels of the result before their magnitude is taken, of the same shape.
        dark: voxels count as at least that bright, so that what hides in the noise is not told from it.

    Returns:
        float32 of that shape.
    """
    invented, value = np.abs(invented), np.abs(value)
    return invented / np.maximum(np.maximum(value, invented), max(np.float32(dark), np.finfo(np.float32).tiny))
