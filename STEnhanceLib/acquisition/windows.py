"""Filters that scanners lay over k-space against ringing, as amplitudes of a matrix in the order of `numpy.fft`.

Radii and widths are shares of half the matrix along each axis, so 1 is the edge of k-space.
"""

from __future__ import annotations

import numpy as np


def fermi(shape_ji: tuple[int, int], radius: float = 0.85, width: float = 0.05) -> np.ndarray:
    """1 / (1 + exp((r - radius) / width)), round: (j, i) float32. It cuts the corners of k-space.

    Bernstein, King, Zhou: Handbook of MRI pulse sequences, 2004, section 13.1.
    """
    r = np.hypot(*np.meshgrid(*(2 * np.fft.fftfreq(n) for n in shape_ji), indexing="ij"))
    return (1 / (1 + np.exp(np.minimum((r - radius) / width, 50)))).astype(np.float32)


def hann(shape_ji: tuple[int, int]) -> np.ndarray:
    """A raised cosine along each axis, which falls to 0 at the edge: (j, i) float32."""
    along_j, along_i = ((1 + np.cos(2 * np.pi * np.fft.fftfreq(n))) / 2 for n in shape_ji)
    return np.outer(along_j, along_i).astype(np.float32)


def filtered(images: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(..., j, i) images, real or complex, with each frequency multiplied by a window of their matrix."""
    import scipy.fft

    result = scipy.fft.ifft2(scipy.fft.fft2(images, workers=-1) * window, workers=-1)
    return result if np.iscomplexobj(images) else result.real
