"""The in-plane step of STEnhance-SR: finer pixels for one frame after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib.acquisition import centre_crop
from STEnhanceLib.methods.placement import Placement
from STEnhanceLib.methods.tiles import chunks, in_tiles

if TYPE_CHECKING:
    import torch


class Estimate(NamedTuple):
    """One frame, on the intensity scale of networks.

    Attributes:
        fine: (P, K, J, I) float32: one part of real images, real and imaginary part of complex ones.
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

    from STEnhanceLib.acquisition.centre_crop_torch import replace_centre
    from STEnhanceLib.networks.stenhance_sr import aligned_inputs

    @functools.lru_cache(maxsize=3)  # a step that follows asks for neighbours, too
    def frame(t: int) -> Estimate:
        parts = np.stack([measured(n).fine for n in around(t)], axis=2)  # (P, K, 3, j, i)
        low = parts.reshape(-1, *parts.shape[2:])
        sharp = None if prior is None else _with_phase(prior, parts[:, :, 0])

        def sharpened(network, device, largest) -> tuple[torch.Tensor, torch.Tensor]:
            results = []
            for part in chunks(len(low), shape_ji[0] * shape_ji[1], largest):
                given = torch.from_numpy(low[part]).to(device)
                of_prior = None if sharp is None else torch.from_numpy(sharp[part]).to(device)
                zero_filled, of_prior = aligned_inputs(given, of_prior, shape_ji)
                fine = _refined(network, zero_filled, of_prior, given.shape[-2:], largest)
                if consistent:
                    fine = replace_centre(fine, given[:, :1])
                results.append((fine.cpu(), zero_filled[:, :1].cpu()))
            return tuple(torch.cat(each) for each in zip(*results, strict=True))

        both = placement.run(model, sharpened)
        return Estimate(*(images.numpy().reshape(*parts.shape[:2], *shape_ji) for images in both))

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


def _with_phase(prior: np.ndarray, now: np.ndarray) -> np.ndarray:
    """(P · K, 1, J, I): the prior for each part of the (P, K, j, i) frame, with its phase if it has one."""
    if len(now) == 1:
        return prior[:, None]
    complex_frame = centre_crop.zero_fill(now[0] + np.complex64(1j) * now[1], prior.shape[-2:])
    turned = prior * np.exp(1j * np.angle(complex_frame))
    return np.stack([turned.real, turned.imag]).astype(np.float32).reshape(-1, 1, *prior.shape[-2:])
