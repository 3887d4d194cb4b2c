"""Data consistency in-plane: the frequencies that were measured put back, each as far as it can be trusted.

Of a measured frequency m and the network's estimate c of it, the difference d = m - c holds the noise of m and the
mistakes of c. Where the mean power P of d is that of the noise N alone, c is as good as it gets; what P is larger by
are mistakes of the network. So c + (1 - N/P) d is put back, Wiener's weight found from the result itself: without noise
that is the measurement, exactly. P is averaged over slices and rings of equal frequency.

Magnitude images hide where ringing was below zero, and noise makes them brighter. The network's estimate, scanned
alike, tells the sign and, by the mean of Rice's distribution, the magnitude to expect with noise; only what differs
counts, and as much as the magnitude depends on the signal there: not at all in air.
Gudbjartsson and Patz: The Rician distribution of noisy MRI data. Magn Reson Med 1995; 34:910-914.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib.methods.measured_grid import LOWEST, inverse

if TYPE_CHECKING:
    import torch

AUTO, ON, OFF = "auto", "true", "false"
RINGS = 24


class Measurement(NamedTuple):
    """What was measured of (B, 1, J, I) images.

    Attributes:
        images: (B, 1, j, i) on the measured grid, the filter undone; float32 or complex64.
        magnitudes: (B, 1, J', I') as shown; None where the images are signed or complex.
        window: (j, i) what the scanner's filter left of every frequency; None for no filter.
        noise: standard deviation of real and imaginary part each, of `images`.
    """

    images: torch.Tensor
    magnitudes: torch.Tensor | None
    window: np.ndarray | None
    noise: float

    def put_back(self, fine: torch.Tensor, how: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The estimate held to the measurement, and what the measurement alone tells, both (B, 1, J, I).

        Args:
            fine: (B, 1, J, I) the estimate.
            how: `AUTO` weighs frequencies and finds signs as above, `ON` takes all as given, `OFF` keeps the estimate.
        """
        from STEnhanceLib.acquisition.centre_crop_torch import resample

        shape_ji = fine.shape[-2:]
        if how == OFF:
            return fine, resample(self.images, shape_ji)
        estimate = resample(fine, self.images.shape[-2:])
        missing, informative = self.images - estimate, 1.0
        if how == AUTO and self.magnitudes is not None:
            missing, informative = self._missing_in_magnitudes(estimate)
        supported = resample(estimate + missing, shape_ji)
        if how == AUTO and (self.noise or self.window is not None):
            missing = self._trusted(missing, informative)
        return fine + resample(missing, shape_ji), supported

    def _missing_in_magnitudes(self, estimate: torch.Tensor) -> tuple[torch.Tensor, float]:
        """What (B, 1, j, i) lacks of the magnitudes, and the mean square share of the noise that is left in that."""
        import torch

        from STEnhanceLib.acquisition.centre_crop_torch import resample

        filtered, filter_mean_square = estimate, 1.0
        if self.window is not None:
            window = estimate.new_tensor(self.window)
            filtered, filter_mean_square = _multiplied(estimate, window), float(window.square().mean())
        shown = resample(filtered, self.magnitudes.shape[-2:])
        magnitude, slope = _expected(shown.abs(), self.noise * math.sqrt(filter_mean_square))
        missing = torch.where(shown < 0, -slope, slope) * (self.magnitudes - magnitude)
        missing = resample(missing, estimate.shape[-2:])
        if self.window is not None:
            missing = _multiplied(missing, missing.new_tensor(inverse(self.window)))
        return missing, float(slope.square().mean())

    def _trusted(self, missing: torch.Tensor, informative: float) -> torch.Tensor:
        """The difference, each frequency weighed by how much of it cannot be noise."""
        import torch

        spectrum = torch.fft.fft2(missing)
        power = spectrum.abs().square().mean(dim=(0, 1))
        rings = _rings(tuple(power.shape)).to(power.device)
        of_ring = torch.zeros(RINGS, device=power.device).index_add(0, rings, power.flatten())
        power = (of_ring / torch.bincount(rings, minlength=RINGS).clamp_min(1))[rings].view_as(power)
        channels = 2 if missing.is_complex() else 1
        noise = channels * informative * self.noise**2 * power.numel()
        weight = (1 - noise / power.clamp_min(torch.finfo(power.dtype).tiny)).clamp_min(0)
        if self.window is not None:
            weight = weight * (power.new_tensor(self.window) >= LOWEST)
        back = torch.fft.ifft2(spectrum * weight)
        return back if missing.is_complex() else back.real


def _expected(signal: torch.Tensor, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean magnitude of a signal with complex noise, and its derivative by the signal; both of its shape."""
    import torch

    if not noise:
        return signal, torch.ones_like(signal)
    half = (signal / noise).square() / 4
    i0, i1 = torch.special.i0e(half), torch.special.i1e(half)
    root = math.sqrt(math.pi / 2)
    return noise * root * ((1 + 2 * half) * i0 + 2 * half * i1), root / (2 * noise) * signal * (i0 + i1)


def _multiplied(images: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """(..., j, i) real images with each frequency multiplied by a window of their matrix."""
    import torch

    return torch.fft.ifft2(torch.fft.fft2(images) * window).real


def _rings(shape_ji: tuple[int, int]) -> torch.Tensor:
    """(j · i) which ring each frequency belongs to; the last one holds the corners."""
    import torch

    radius = np.hypot(*np.meshgrid(*(2 * np.fft.fftfreq(n) for n in shape_ji), indexing="ij"))
    return torch.from_numpy(np.minimum(radius * RINGS, RINGS - 1).astype(np.int64).ravel())
