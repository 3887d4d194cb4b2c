"""Coils with noise of one level and independent of one another, from noise that was measured without a signal."""

from __future__ import annotations

import numpy as np

FEWEST = 4  # noise samples per coil and coil, for a covariance that can be inverted
SINGULAR = 1e-6  # smallest eigenvalue of the covariance of coils that are not copies of others, as part of the largest


def whitening(noise: np.ndarray) -> tuple[np.ndarray, float]:
    """The matrix that makes noise white, and the level that it then has.

    With the covariance Ψ = L Lᴴ of the noise, L⁻¹ times the samples has noise of level 1 in every coil and none in
    common. The mean level is put back, so that samples keep their units.

    Args:
        noise: (C, N) complex, from all coils at N moments.

    Returns:
        (C, C) complex64, to be multiplied with the samples of all coils, and the standard deviation of the white noise
        per real and imaginary part.

    References:
        Pruessmann, Weiger, Börnert, Boesiger: Advances in sensitivity encoding with arbitrary k-space trajectories.
        Magn Reson Med 2001; 46:638-651, appendix A.

    Raises:
        ValueError: the samples are too few or not finite, or a coil is dead or the copy of others; the text says so.
    """
    coils, count = noise.shape
    if count < FEWEST * coils:
        raise ValueError(f"there are {count} samples of {coils} coils; expected at least {FEWEST * coils}")
    if not np.isfinite(noise).all():
        raise ValueError("they hold NaN or infinite numbers")
    noise = noise.astype(np.complex128)
    noise -= noise.mean(axis=1, keepdims=True)  # the receivers' offset is no noise
    covariance = noise @ noise.conj().T / (2 * (count - 1))  # half of it is that of real and of imaginary parts
    sizes = np.linalg.eigvalsh(covariance)
    if not sizes[0] > SINGULAR * sizes[-1]:
        raise ValueError("a coil has no noise, or the noise of others")
    level = float(np.sqrt(np.trace(covariance).real / coils))
    return (level * np.linalg.inv(np.linalg.cholesky(covariance))).astype(np.complex64), level


def whitened(samples: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Samples (T, K, C, …) with their coils mixed by a matrix (C, C); frame by frame, as a stack may have gigabytes."""
    mixed = np.empty(samples.shape, np.complex64)
    for frame, whole in enumerate(samples):
        mixed[frame] = np.moveaxis(np.tensordot(matrix, whole, (1, 1)), 0, 1)
    return mixed
