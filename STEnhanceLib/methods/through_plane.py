"""The through-plane step of STEnhance-SR: thinner slices, no sharper across them than slices lie where they should.

Slices are measured in different breath-holds and heartbeats. An error of position with standard deviation σ leaves of a
wavelength λ across slices the share exp(−(2πσ/λ)²) that still fits a stack of true slices (the mean of exp(i 2π(z₁ −
z₂)/λ) over two independent errors). Everything beyond interpolation is weighed by that:

* slices are interpolated along the structures that run through them (`motion.between_slices`);
* what a network adds that slices as thick as these cannot tell, on planes at right angles to them, both ways, averaged,
  is filtered by exp(−(2πσ/λ)²);
* of a Gaussian profile with standard deviation s, whose undoing amplifies by exp(2π²s²/λ²), only one with s² − 2σ² is
  undone, because that is what is left of the product of both; none where it is negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.methods.in_plane import Estimate
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks, in_tiles

if TYPE_CHECKING:
    import torch

ROWS, COLUMNS = -2, -1
POSITION_ERROR_MM = 2.0  # against measured planes, a stack of a beating heart agreed as with 1.7 to 2
LARGEST_WIDTH = 2.0  # slice distances: a profile that overlaps more multiplies noise


class Stack(NamedTuple):
    """How thick slices lie.

    Attributes:
        spacing_mm: along (i, j, k).
        thickness_mm: full width of their profile at half maximum.
    """

    spacing_mm: tuple[float, float, float]
    thickness_mm: float

    @property
    def undone_mm(self) -> float:
        """Full width at half maximum of the profile that can be undone; 0 where it cannot be."""
        lost = 2 * (thick_slices.FWHM * POSITION_ERROR_MM) ** 2
        width = min(self.thickness_mm, LARGEST_WIDTH * self.spacing_mm[2])
        return math.sqrt(max(0.0, width**2 - lost))


def thinner(
    stacks: Callable[[int], Estimate],
    around: Callable[[int], tuple[int, int, int]],
    factor: float,
    stack: Stack,
    *,
    model: str,
    placement: Placement,
    consistent: bool,
) -> Callable[[int], Estimate]:
    """Frames by index, with thinner slices; arguments as `in_plane.finer`.

    Args:
        stacks: the frames with thick slices, by index.
        factor: see `thick_slices.operator`.
        stack: how the thick slices lie.
    """
    import torch
    from scipy import ndimage

    from STEnhanceLib.motion.between_slices import interpolated

    distance_mm = stack.spacing_mm[2]
    smoothness = math.sqrt(2) * POSITION_ERROR_MM * factor / distance_mm  # of the filter, in thin slices
    width = stack.undone_mm / distance_mm

    def frame(t: int) -> Estimate:
        thick = stacks(t)
        starts = np.stack([thick_slices.start(stacks(n).fine, factor) for n in around(t)])  # (3, K, J, I)
        images = np.abs(starts) if np.iscomplexobj(starts) else starts

        magnitude = np.abs(thick.fine) if np.iscomplexobj(thick.fine) else thick.fine

        def added(network, device, largest) -> np.ndarray:
            given = torch.from_numpy(images).to(device)
            refined = sum(_planes(network, given, axis, factor, largest) for axis in (ROWS, COLUMNS)) / 2
            missing = (refined - given[0]).cpu().numpy()
            return thick_slices.replace_measured(missing, np.zeros_like(magnitude), factor) if consistent else missing

        places = np.arange(starts.shape[1]) / factor
        fine = interpolated(magnitude, places, stack.spacing_mm[:2], placement.device)
        fine += ndimage.gaussian_filter1d(placement.run(model, added), smoothness, axis=0, mode="nearest")
        if np.iscomplexobj(starts):
            fine = fine * np.exp(1j * np.angle(starts[0])).astype(np.complex64)
        if consistent and width > 0:
            fine = thick_slices.replace_measured(fine, thick.fine, factor, width)
        supported = thick_slices.replace_measured(np.zeros_like(fine), thick.supported, factor)
        return Estimate(fine, supported)

    return frame


def _planes(network, images: torch.Tensor, axis: int, factor: float, largest: int) -> torch.Tensor:
    """Each plane of the (3, K, J, I) stacks that lies at right angles to `axis` refined: (K, J, I)."""
    import torch

    from STEnhanceLib.networks.stenhance_sr import FOLD

    planes = images.movedim(axis, 0)  # (J, 3, K, I) or (I, 3, K, J)
    support = images.new_tensor([[1 / factor, 1.0]])

    def apply(tile: torch.Tensor) -> torch.Tensor:
        return network(tile, None, support.expand(len(tile), 2))

    each = planes.shape[-2] * planes.shape[-1]
    results = [
        in_tiles(apply, planes[part].contiguous(), network.radius, multiple=FOLD, largest=largest)[:, 0]
        for part in chunks(len(planes), each, largest)
    ]
    return torch.cat(results).movedim(0, axis)
