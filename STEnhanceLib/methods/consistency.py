"""Data consistency in-plane: the frequencies that were measured put back, each as far as it can be trusted.

Of a measured frequency m and the network's estimate c of it, the difference d = m - c holds the noise of m and the
mistakes of c. Where the mean power P of d is that of the noise N alone, c is as good as it gets; what P is larger by
are mistakes of the network. So c + (1 - N/P) d is put back, Wiener's weight found from the result itself: without noise
that is the measurement, exactly. P is averaged over slices and rings of equal frequency.

Magnitude images hide where ringing was below zero; the network's estimate, scanned alike, tells
(`centre_crop_torch.with_signs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib.methods.measured_grid import LOWEST

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

        measured = self._signed(fine) if how == AUTO and self.magnitudes is not None else self.images
        supported = resample(measured, fine.shape[-2:])
        if how == OFF:
            return fine, supported
        missing = measured - resample(fine, measured.shape[-2:])
        if how == AUTO and (self.noise or self.window is not None):
            missing = self._trusted(missing)
        return fine + resample(missing, fine.shape[-2:]), supported

    def _signed(self, fine: torch.Tensor) -> torch.Tensor:
        import torch

        from STEnhanceLib.acquisition.centre_crop_torch import resample, with_signs

        if self.window is None:
            return with_signs(fine, self.magnitudes, self.images.shape[-2:])
        window = fine.new_tensor(self.window)
        given = torch.fft.ifft2(torch.fft.fft2(resample(fine, window.shape)) * window).real
        signed = torch.fft.fft2(with_signs(given, self.magnitudes, window.shape))
        return torch.fft.ifft2(torch.where(window >= LOWEST, signed / window.clamp_min(LOWEST), 0)).real

    def _trusted(self, missing: torch.Tensor) -> torch.Tensor:
        """The difference, each frequency weighed by how much of it cannot be noise."""
        import torch

        spectrum = torch.fft.fft2(missing)
        power = spectrum.abs().square().mean(dim=(0, 1))
        rings = _rings(tuple(power.shape)).to(power.device)
        of_ring = torch.zeros(RINGS, device=power.device).index_add(0, rings, power.flatten())
        power = (of_ring / torch.bincount(rings, minlength=RINGS).clamp_min(1))[rings].view_as(power)
        channels = 2 if missing.is_complex() else 1
        noise = channels * self.noise**2 * power.numel()
        weight = (1 - noise / power.clamp_min(torch.finfo(power.dtype).tiny)).clamp_min(0)
        if self.window is not None:
            weight = weight * (missing.real.new_tensor(self.window) >= LOWEST)
        back = torch.fft.ifft2(spectrum * weight)
        return back if missing.is_complex() else back.real


def _rings(shape_ji: tuple[int, int]) -> torch.Tensor:
    """(j · i) which ring each frequency belongs to; the last one holds the corners."""
    import torch

    radius = np.hypot(*np.meshgrid(*(2 * np.fft.fftfreq(n) for n in shape_ji), indexing="ij"))
    return torch.from_numpy(np.minimum(radius * RINGS, RINGS - 1).astype(np.int64).ravel())
