"""Thick slices: what a scan with slices `factor` times as thick and as far apart measures of a stack of thin ones.

Thick slice n is centred on index n · factor of the fine stack, where a Gaussian profile weighs the fine slices; its
full width at half maximum is `width` distances of thick slices, 1 where they touch. Beyond the ends of the fine stack
its outermost slices are repeated. The first slices of both stacks coincide. A stack of at most a few hundred slices
makes that one small matrix, so the nearest stack that agrees with a measurement follows from its pseudo-inverse.

Images are (..., K, J, I), numpy arrays or torch tensors, and keep their kind.
"""

from __future__ import annotations

import functools
import math

import numpy as np

TRUNCATE = 4  # standard deviations at which the profile ends
FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, in standard deviations
NARROWEST = 0.5  # fine slices; a narrower profile weighs one of them, or two alike


def fine_slices(thick: int, factor: float) -> int:
    """How many thin slices lie between the centres of the first and the last of so many thick ones, both included."""
    return math.floor((thick - 1) * factor + 1e-6) + 1


@functools.lru_cache(maxsize=64)
def operator(thick: int, factor: float, fine: int | None = None, width: float = 1.0) -> np.ndarray:
    """The matrix A of the measurement, thick = A · fine.

    Args:
        thick: number of thick slices.
        factor: distance of the thick slices, in fine slices.
        fine: number of fine slices, if not `fine_slices`.
        width: of the profile, more than 0.

    Returns:
        (thick, fine) float64, read-only; every row sums to 1.
    """
    fine = fine_slices(thick, factor) if fine is None else fine
    sigma = max(width * factor, NARROWEST) / FWHM
    matrix = np.zeros((thick, fine))
    reach = int(TRUNCATE * sigma + 0.5)
    for n, row in enumerate(matrix):
        slices = np.arange(-reach, reach + 1) + math.floor(n * factor + 0.5)
        weights = np.exp(-(((slices - n * factor) / sigma) ** 2) / 2)
        np.add.at(row, slices.clip(0, fine - 1), weights / weights.sum())
    return _frozen(matrix)


def measure(fine_images, thick: int, factor: float, width: float = 1.0):
    """The (..., thick, J, I) images that a scan with thick slices gives of (..., K, J, I)."""
    return _along_slices(operator(thick, factor, fine_images.shape[-3], width), fine_images)


def interpolated(thick_images, factor: float):
    """Cubic spline interpolation between the thick slices, which stay as they are: as `start`, without the profile."""
    return _along_slices(_spline(thick_images.shape[-3], factor), thick_images)


def start(thick_images, factor: float):
    """Cubic spline interpolation between the thick slices, moved to the nearest stack that agrees with them.

    Args:
        thick_images: (..., m, J, I).
        factor: see `operator`.

    Returns:
        (..., fine_slices(m, factor), J, I)
    """
    return _along_slices(_start(thick_images.shape[-3], factor), thick_images)


def replace_measured(fine_images, thick_images, factor: float, width: float = 1.0):
    """Hard data consistency: the stack nearest to (..., K, J, I) of which a scan measures `thick_images`."""
    missing = thick_images - measure(fine_images, thick_images.shape[-3], factor, width)
    return fine_images + _along_slices(_inverse(thick_images.shape[-3], factor, width), missing)


@functools.lru_cache(maxsize=64)
def _inverse(thick: int, factor: float, width: float = 1.0) -> np.ndarray:
    return _frozen(np.linalg.pinv(operator(thick, factor, width=width)))


@functools.lru_cache(maxsize=64)
def _start(thick: int, factor: float) -> np.ndarray:
    spline = _spline(thick, factor)
    return _frozen(spline + _inverse(thick, factor) @ (np.eye(thick) - operator(thick, factor) @ spline))


@functools.lru_cache(maxsize=64)
def _spline(thick: int, factor: float) -> np.ndarray:
    from scipy import ndimage

    where = np.arange(fine_slices(thick, factor)) / factor
    each = [ndimage.map_coordinates(one, [where], order=3, mode="mirror") for one in np.eye(thick)]
    return _frozen(np.stack(each, axis=1))


def _along_slices(matrix: np.ndarray, images):
    matrix = matrix.astype(images.dtype) if isinstance(images, np.ndarray) else images.new_tensor(matrix)
    *others, slices, rows, columns = images.shape
    return (matrix @ images.reshape(*others, slices, rows * columns)).reshape(*others, len(matrix), rows, columns)


def _frozen(matrix: np.ndarray) -> np.ndarray:
    matrix.setflags(write=False)
    return matrix
