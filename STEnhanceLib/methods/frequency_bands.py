"""The two bands of frequency-split denoising, and how much noise there is."""

from __future__ import annotations

import numpy as np

ALMOST_GAUSSIAN = 3  # signal in units of the noise level, from where Rician noise is Gaussian to a few per cent
REFINEMENTS = 3
ENOUGH = 100  # groups of pixels, for a median


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


def noise_level(frames: np.ndarray) -> float:
    """Standard deviation of the noise, from differences along the diagonal of 2×2 pixels; frames are (..., J, I).

    The median absolute deviation is taken over the brighter half of the image, and there only where the signal is three
    times the noise or more: below, the noise of a magnitude image is weaker. Fine texture counts as noise.
    """
    height, width = frames.shape[-2] // 2 * 2, frames.shape[-1] // 2 * 2
    a, b = frames[..., 0:height:2, 0:width:2], frames[..., 0:height:2, 1:width:2]
    c, d = frames[..., 1:height:2, 0:width:2], frames[..., 1:height:2, 1:width:2]
    brightness, difference = (a + b + c + d) / 4, np.abs(a - b - c + d) / 2
    limit = median = np.median(brightness)
    for _ in range(1 + REFINEMENTS):
        bright = brightness >= limit
        if limit > median and np.count_nonzero(bright) < ENOUGH:
            break
        level = float(np.median(difference[bright])) / 0.6745
        limit = max(median, ALMOST_GAUSSIAN * level)
    return level
