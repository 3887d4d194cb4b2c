"""How strong the noise of a sequence is at each spatial frequency.

Filters of the scanner, partial Fourier and interpolation leave noise that is not white. It shows in what differs
between neighbouring frames where nothing moves, coefficient by coefficient of small cosine transforms.
"""

from __future__ import annotations

import numpy as np

from STEnhanceLib.methods.noise_over_time import NORMAL_QUARTER, PASSED_ON, STILL

BLOCK = 8  # pixels along each edge, and frequencies along each axis
ENOUGH = 24, 5  # frames, slices
COARSE = 2  # below this frequency of a block lies what the denoiser leaves alone, and what moves
WHITE = 0.8  # the weakest frequency to the strongest, of noise that counts as white
WEAKEST = 0.05  # below, noise is too weak to be known


def strength(frames: np.ndarray) -> np.ndarray | None:
    """Standard deviation of the noise in each coefficient of an orthonormal 8×8 cosine transform.

    Of blocks in the brighter half, since noise of magnitude images is weaker in air.

    Args:
        frames: (T, K, J, I) float32.

    Returns:
        (8, 8) float32 in units of the images; None for fewer than three frames.
    """
    count, slices = frames.shape[:2]
    if count < 3:
        return None
    some = frames[: ENOUGH[0], np.unique(np.linspace(0, slices - 1, min(slices, ENOUGH[1])).astype(int))]
    average = np.abs(_blocks(some.mean(axis=0))[..., 0, 0])
    bright = average >= np.median(average)
    changes = (some[1:-1] - (some[:-2] + some[2:]) / 2) / np.float32(PASSED_ON)
    over_time, in_space = (
        np.quantile(np.abs(_blocks(images)[:, bright]), STILL, axis=(0, 1)) / NORMAL_QUARTER
        for images in (changes, some)
    )
    # Noise cannot exceed what an image has there, whatever moves.
    return np.minimum(over_time, in_space).astype(np.float32)


def shape_of(strength: np.ndarray | None) -> np.ndarray:
    """Noise at each frequency as a share of the strongest, (8, 8) float32 in (0, 1]; all 1 for white noise."""
    white = np.ones((BLOCK, BLOCK), np.float32)
    if strength is None:
        return white
    fine = np.hypot(*np.indices(strength.shape)) >= COARSE
    strongest = strength[fine].max()
    if strength[fine].min() >= WHITE * strongest:  # also where there is none at all
        return white
    return np.where(fine, np.clip(strength / strongest, WEAKEST, 1), 1).astype(np.float32)


def at_each_frequency(shape: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """The (8, 8) shape of the noise at each frequency of the cosine transform of whole slices, (J, I) float32."""
    rows, columns = (np.arange(n) * BLOCK / n for n in shape_ji)
    known = np.arange(BLOCK)
    along_i = np.stack([np.interp(columns, known, row) for row in shape])
    return np.stack([np.interp(rows, known, column) for column in along_i.T], axis=1).astype(np.float32)


def _blocks(images: np.ndarray) -> np.ndarray:
    """(..., K, J, I) to the transforms of the whole blocks that fit, (..., blocks, 8, 8)."""
    import scipy.fft

    rows, columns = (n // BLOCK for n in images.shape[-2:])
    whole = images[..., : rows * BLOCK, : columns * BLOCK]
    split = whole.reshape(*images.shape[:-2], rows, BLOCK, columns, BLOCK).swapaxes(-3, -2)
    return scipy.fft.dctn(split, axes=(-2, -1), norm="ortho").reshape(*images.shape[:-3], -1, BLOCK, BLOCK)
