"""The two bands of frequency-split denoising."""

from __future__ import annotations

import numpy as np


def high_band(shape_ji: tuple[int, int], low_band: float) -> np.ndarray:
    """The weight of each cosine frequency in the high band: 0 up to `low_band`, 1 from twice that; (J, I) float32."""
    j, i = (np.arange(n) / n for n in shape_ji)
    above = np.clip(np.hypot(j[:, None], i) / low_band - 1, 0, 1)
    return np.sin(np.pi / 2 * above).astype(np.float32) ** 2


def filtered(images: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(…, J, I) images with each cosine frequency multiplied by its weight."""
    import scipy.fft

    spectrum = scipy.fft.dctn(images, axes=(-2, -1), norm="ortho", workers=-1)
    return scipy.fft.idctn(weight * spectrum, axes=(-2, -1), norm="ortho", workers=-1)
