"""How far apart two geometries put the voxels of an image."""

from __future__ import annotations

import numpy as np


def largest_shift_mm(one: np.ndarray, other: np.ndarray, shape) -> float:
    corners = np.array([(*(np.array(c) * (np.array(shape[::-1]) - 1)), 1) for c in np.ndindex(2, 2, 2)])
    return float(np.abs((one - other) @ corners.T).max())
