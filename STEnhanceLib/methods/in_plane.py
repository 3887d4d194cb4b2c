"""The in-plane step of STEnhance-SR: finer pixels for one frame after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks, in_tiles

if TYPE_CHECKING:
    import torch


class Estimate(NamedTuple):
    """One frame, on the intensity scale of networks.

    Attributes:
        fine: (K, J, I) float32 or complex64.
        supported: the same frame as the measurement alone tells it.
    """

    fine: np.ndarray
    supported: np.ndarray


def finer(
    measured: Callable[[int], Estimate],
    around: Callable[[int], tuple[int, int, int]],
    shape_ji: tuple[int, int],
    prior: np.ndarray | None,
    *,
    model: str,
    placement: Placement,
    consistent: bool,
) -> Callable[[int], Estimate]:
    """Frames by index, with finer pixels.

    Args:
        measured: the frames as measured, by index.
        around: a frame, the one before and the one after it.
        shape_ji: the finer matrix.
        prior: (K, J, I) sharp magnitude on the finer grid, or None.
        model: name of the bundle.
        placement: where to compute.
        consistent: put the measured frequencies back.
    """
    import torch

    from STEnhanceLib.acquisition.centre_crop_torch import replace_centre, resample
    from STEnhanceLib.networks.stenhance_sr import aligned_inputs

    @functools.lru_cache(maxsize=3)  # a step that follows asks for neighbours, too
    def frame(t: int) -> Estimate:
        low = np.stack([measured(n).fine for n in around(t)], axis=1)  # (K, 3, j, i)

        def sharpened(network, device, largest) -> tuple[torch.Tensor, torch.Tensor]:
            results = []
            for part in chunks(len(low), shape_ji[0] * shape_ji[1], largest):
                given = torch.from_numpy(low[part]).to(device)
                sharp = None if prior is None else torch.from_numpy(prior[part, None]).to(device)
                images, sharp = aligned_inputs(given.abs() if given.is_complex() else given, sharp, shape_ji)
                supported = images[:, :1]
                if given.is_complex():
                    supported = resample(given[:, :1], shape_ji)
                    images = torch.cat([supported.abs(), images[:, 1:]], dim=1)
                fine = _refined(network, images, sharp, given.shape[-2:], largest)
                if given.is_complex():
                    fine = fine * supported.sgn()  # its phase
                if consistent:
                    fine = replace_centre(fine, given[:, :1])
                results.append((fine[:, 0].cpu(), supported[:, 0].cpu()))
            return tuple(torch.cat(each) for each in zip(*results, strict=True))

        return Estimate(*(images.numpy() for images in placement.run(model, sharpened)))

    return frame


def _refined(network, zero_filled, prior, measured_ji, largest) -> torch.Tensor:
    """What the network makes of (B, 3, J, I) and a prior of (B, 1, J, I) or None: (B, 1, J, I)."""
    import torch

    from STEnhanceLib.networks.stenhance_sr import FOLD, FRAMES

    shape_ji = zero_filled.shape[-2:]
    share = zero_filled.new_tensor([[small / large for small, large in zip(measured_ji, shape_ji, strict=True)]])
    support = share.expand(len(zero_filled), 2)
    has_prior = None if prior is None else prior.flatten(1).any(dim=1, keepdim=True)

    def apply(tile: torch.Tensor) -> torch.Tensor:
        return network(tile[:, :FRAMES], None if prior is None else tile[:, FRAMES:], support, has_prior)

    images = zero_filled if prior is None else torch.cat([zero_filled, prior], dim=1)
    return in_tiles(apply, images, network.radius, multiple=FOLD, largest=largest)
