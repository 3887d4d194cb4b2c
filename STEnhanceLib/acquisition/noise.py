"""Thermal noise of the receiver, and what "1 % noise" means."""

from __future__ import annotations

import numpy as np

SCALE_PERCENTILE = 99.9


def intensity_scale(images: np.ndarray) -> float:
    """The 99.9th percentile of the magnitude of all images together: the intensity that noise and scores call 1."""
    return float(np.percentile(np.abs(images), SCALE_PERCENTILE))


def noise_std(reference: np.ndarray, percent: float) -> float:
    """The noise level that is so many percent of the reference's intensity scale.

    It is the standard deviation of the real and of the imaginary part of every k-space sample. With the orthonormal
    Fourier convention and sensitivities of root-sum-of-squares 1, a fully sampled, coil-combined Cartesian image has
    noise of the same standard deviation.

    Args:
        reference: (..., J, I) images, all frames and slices, real or complex.
        percent: for example 1.
    """
    return percent / 100 * intensity_scale(reference)


def complex_noise(shape: tuple[int, ...], std: float, random: np.random.Generator) -> np.ndarray:
    """White complex Gaussian noise, complex64, of standard deviation `std` per real and imaginary part."""
    parts = random.standard_normal((*shape, 2), dtype=np.float32) * np.float32(std)
    return parts.view(np.complex64)[..., 0]
