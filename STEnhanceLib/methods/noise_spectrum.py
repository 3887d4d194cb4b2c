"""How strong the noise of a sequence is, and how it is spread over spatial frequencies.

Filters of the scanner, partial Fourier and interpolation leave noise that is not white. It shows in what differs
between neighbouring frames where nothing moves, coefficient by coefficient of small cosine transforms. The level of
white noise shows in the finest detail of each frame by itself, where least of the image is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from STEnhanceLib.methods.noise_over_time import NORMAL_QUARTER, PASSED_ON, STILL

BLOCK = 8  # pixels along each edge, and frequencies along each axis
ENOUGH = 24, 5  # frames, slices
ENOUGH_BLOCKS, MANY_BLOCKS = 16, 64  # for a quantile, and to tell noise from motion, which a quarter must be free of
ALMOST_GAUSSIAN = 3  # signal in units of the noise level, from where Rician noise is Gaussian to a few per cent
REFINEMENTS = 3
FINE = np.hypot(*np.indices((BLOCK, BLOCK))) >= 2  # coarser is what the denoiser leaves alone, and what moves most
FINEST = np.s_[5:, 5:]
WHITE = 0.7  # the weakest frequencies to the strongest, of noise that counts as white
FEW = 0.05  # of the frequencies, that may be so by chance
WEAKEST = 0.05  # below, noise is too weak to be known


class Noise(NamedTuple):
    """The noise of images.

    Attributes:
        level: standard deviation of the coefficients of an orthonormal transform, where it is strongest.
        shape: (8, 8) float32 in (0, 1], strength at each frequency of 8×8 blocks as a share of that; 1 for white noise.
    """

    level: float
    shape: np.ndarray = np.ones((BLOCK, BLOCK), np.float32)

    @property
    def is_white(self) -> bool:
        """About as strong at all frequencies."""
        return bool((self.shape == 1).all())

    @property
    def of_pixels(self) -> float:
        """Standard deviation in the images."""
        return self.level * float(np.sqrt(np.mean(self.shape**2)))

    def at_level(self, of_pixels: float) -> Noise:
        """Noise of the same spectrum with this standard deviation in the images."""
        return Noise(of_pixels / self._replace(level=1.0).of_pixels, self.shape)


def find_noise(frames: np.ndarray) -> Noise:
    """The noise of images (T, K, J, I) float32; of fewer than three frames and of small images it is taken as white.

    It is looked for in the brighter half of the image, and there only where the signal is three times the noise or
    more: below, the noise of a magnitude image is weaker. Fine texture counts as noise where it is alike at all
    frequencies.
    """
    count, slices = frames.shape[:2]
    some = frames[: ENOUGH[0], np.unique(np.linspace(0, slices - 1, min(slices, ENOUGH[1])).astype(int))]
    if not some.any():  # as where only the grid of a result is asked for, while somebody waits
        return Noise(0.0)
    few = _blocks(some[np.linspace(0, len(some) - 1, min(3, len(some))).astype(int)])
    brightness = np.abs(_blocks(some.mean(axis=0))[..., 0, 0]) / BLOCK
    limit = median = np.median(brightness)
    for _ in range(1 + REFINEMENTS):
        if limit > median and np.count_nonzero(brightness >= limit) < ENOUGH_BLOCKS:
            break
        bright = brightness >= limit
        limit = max(median, ALMOST_GAUSSIAN * _white_level(_strength(few, bright)))
    in_space = _strength(_blocks(some), bright)
    if count > 2 and np.count_nonzero(bright) >= MANY_BLOCKS:
        changes = (some[1:-1] - (some[:-2] + some[2:]) / 2) / np.float32(PASSED_ON)
        # Noise cannot exceed what an image has there, whatever moves.
        strength = np.minimum(_strength(_blocks(changes), bright), in_space)
        weak, strong = np.quantile(strength[FINE], (FEW, 1 - FEW))
        if weak < WHITE * strong:
            strongest = strength[FINE].max()
            shape = np.where(FINE, np.clip(strength / strongest, WEAKEST, 1), 1)
            return Noise(float(strongest), shape.astype(np.float32))
    return Noise(_white_level(in_space))


def at_each_frequency(shape: np.ndarray, shape_ji: tuple[int, int]) -> np.ndarray:
    """The (8, 8) shape of the noise at each frequency of the cosine transform of whole slices, (J, I) float32."""
    rows, columns = (np.arange(n) * BLOCK / n for n in shape_ji)
    known = np.arange(BLOCK)
    along_i = np.stack([np.interp(columns, known, row) for row in shape])
    return np.stack([np.interp(rows, known, column) for column in along_i.T], axis=1).astype(np.float32)


def _strength(blocks: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Standard deviation of noise in each coefficient of the bright blocks, from a quantile that little else is in."""
    return np.quantile(np.abs(blocks[:, bright]), STILL, axis=(0, 1)) / NORMAL_QUARTER


def _white_level(strength: np.ndarray) -> float:
    return float(np.median(strength[FINEST]))


def _blocks(images: np.ndarray) -> np.ndarray:
    """(..., K, J, I) to the transforms of the whole blocks that fit, (..., blocks, 8, 8)."""
    import scipy.fft

    rows, columns = (n // BLOCK for n in images.shape[-2:])
    whole = images[..., : rows * BLOCK, : columns * BLOCK]
    split = whole.reshape(*images.shape[:-2], rows, BLOCK, columns, BLOCK).swapaxes(-3, -2)
    return scipy.fft.dctn(split, axes=(-2, -1), norm="ortho").reshape(*images.shape[:-3], -1, BLOCK, BLOCK)
