"""The through-plane step of STEnhance-SR: thinner slices from planes at right angles to them, both ways, averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.methods.in_plane import Estimate
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks, in_tiles

if TYPE_CHECKING:
    import torch

ROWS, COLUMNS = -2, -1


def thinner(
    stacks: Callable[[int], Estimate],
    around: Callable[[int], tuple[int, int, int]],
    factor: float,
    *,
    model: str,
    placement: Placement,
    consistent: bool,
) -> Callable[[int], Estimate]:
    """Frames by index, with thinner slices; arguments as `in_plane.finer`.

    Args:
        stacks: the frames with thick slices, by index.
        factor: see `thick_slices.operator`.
    """
    import torch

    def frame(t: int) -> Estimate:
        thick = stacks(t)
        starts = np.stack([thick_slices.start(stacks(n).fine, factor) for n in around(t)])  # (3, K, J, I)

        def refined(network, device, largest) -> torch.Tensor:
            given = torch.from_numpy(starts).to(device)
            images = given.abs() if given.is_complex() else given
            fine = sum(_planes(network, images, axis, factor, largest) for axis in (ROWS, COLUMNS)) / 2
            if given.is_complex():
                fine = fine * given[0].sgn()  # its phase
            if consistent:
                fine = thick_slices.replace_measured(fine, torch.from_numpy(thick.fine).to(device), factor)
            return fine.cpu()

        fine = placement.run(model, refined).numpy()
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
