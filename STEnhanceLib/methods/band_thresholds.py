"""The classical denoiser of the high band: small cosine coefficients of overlapping space-time blocks are noise.

Each 8×8 block, together with the same block of the frames before and after, is transformed by the cosine transform,
coefficients below a multiple of the noise level are removed, and overlapping blocks are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BLOCK = 8  # pixels along each edge
STRIDE = 2  # pixels from one block to the next: 16 blocks cover each pixel
THRESHOLD = 2.5  # noise levels below which a coefficient counts as noise


def noise_of(bands: Sequence[np.ndarray], centre: int, level: np.ndarray | float) -> np.ndarray:
    """What counts as noise in the high band of a frame, (K, J, I).

    Args:
        bands: (K, J, I) each, the high bands of the frame and of its neighbours, in the order of time.
        centre: which of them is the frame.
        level: standard deviation of the noise, one for all coefficients of a block or (8, 8).
    """
    series = np.stack(bands, axis=1)
    return np.stack([band[centre] - _without_noise(band, centre, THRESHOLD * level) for band in series])


def _without_noise(band: np.ndarray, centre: int, threshold: np.ndarray | float) -> np.ndarray:
    """Hard thresholding of overlapping space-time blocks; (n, J, I) to the denoised frame `centre`, (J, I)."""
    import scipy.fft

    count, height, width = band.shape
    margin = BLOCK - 1  # every pixel, also at the edge, lies in as many blocks
    padded = np.pad(band, ((0, 0), (margin, margin + height % STRIDE), (margin, margin + width % STRIDE)), "reflect")
    blocks = sliding_window_view(padded, (BLOCK, BLOCK), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    spectrum = scipy.fft.dctn(blocks, axes=(0, 3, 4), norm="ortho", workers=-1)
    kept = np.abs(spectrum) > threshold
    spectrum *= kept
    # A block that needs few coefficients holds little noise, so it counts for more.
    trust = (1 / np.maximum(kept.sum(axis=(0, 3, 4)), 1)).astype(np.float32)
    to_centre = scipy.fft.idct(np.eye(count, dtype=np.float32), axis=0, norm="ortho")[centre]
    cleaned = scipy.fft.idctn(np.tensordot(to_centre, spectrum, axes=1), axes=(2, 3), norm="ortho", workers=-1)
    total, weights = np.zeros((2, *padded.shape[1:]), np.float32)
    rows, columns = trust.shape
    for j in range(BLOCK):
        for i in range(BLOCK):
            covered = np.s_[j : j + STRIDE * rows : STRIDE, i : i + STRIDE * columns : STRIDE]
            total[covered] += trust * cleaned[:, :, j, i]
            weights[covered] += trust
    inside = np.s_[margin : margin + height, margin : margin + width]
    return total[inside] / weights[inside]
