"""Haar wavelets of volumes, through which gradients flow.

Sums and differences of neighbours in pairs. Written out here because the library for it, ptwt, needs a newer Python
than this extension, and for the shortest of all wavelets it would save nothing.
"""

from __future__ import annotations

import torch

LEVELS = 2


def haar(volume: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One orthonormal level: (..., K, J, I) → the low band (..., k, j, i) and the seven others (7, ..., k, j, i).

    Half of the samples, rounded up; an odd axis goes on with its last sample. Of the bands, the last axis changes
    fastest: low-low-high first, high-high-high last.
    """
    bands = volume[None]
    for axis in (-3, -2, -1):
        if bands.shape[axis] % 2:
            bands = torch.cat([bands, bands.narrow(axis, -1, 1)], dim=axis)
        even, odd = bands.unflatten(axis, (-1, 2)).unbind(axis)
        bands = torch.stack([even + odd, even - odd], dim=1).flatten(0, 1) / 2**0.5
    return bands[0], bands[1:]


def wavelet_error(error: torch.Tensor) -> torch.Tensor:
    """The mean absolute wavelet coefficient of (..., K, J, I), the mean over the bands of all levels.

    Args:
        error: result minus truth; the transform is linear.
    """
    low, sizes = error, []
    for _ in range(LEVELS):
        low, high = haar(low)
        sizes.append(high.abs().flatten(1).mean(1))
    return torch.cat([*sizes, low.abs().mean()[None]]).mean()
