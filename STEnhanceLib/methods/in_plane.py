"""The in-plane step of STEnhance-SR: finer pixels for one frame after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from STEnhanceLib.methods.measured_grid import LOWEST
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


class Scan(NamedTuple):
    """What is known about how the images came about, on the intensity scale of networks.

    Attributes:
        measured_ji: the matrix that was measured.
        measured: frames by index on that matrix, the scanner's filter undone, (K, j, i).
        magnitudes: the same as given, (K, J', I'); None where the images are signed or complex.
        window: (j, i) float32, what the filter left of every frequency; None for no filter.
        noise: standard deviation of real and imaginary part each, of `measured`.
    """

    measured_ji: tuple[int, int]
    measured: Callable[[int], np.ndarray]
    magnitudes: Callable[[int], np.ndarray] | None
    window: np.ndarray | None
    noise: float

    @property
    def edges(self) -> tuple[float, float]:
        """To what share the filter lowered the edge of k-space along J and I, at least a tenth."""
        if self.window is None:
            return (1.0, 1.0)
        rows, columns = self.window.shape
        return tuple(float(max(self.window[at], LOWEST)) for at in ((rows // 2, 0), (0, columns // 2)))


def finer(
    scan: Scan,
    around: Callable[[int], tuple[int, int, int]],
    shape_ji: tuple[int, int],
    prior: np.ndarray | None,
    *,
    model: str,
    placement: Placement,
    consistency: str,
) -> Callable[[int], Estimate]:
    """Frames by index, with finer pixels.

    Args:
        scan: the frames, and what is known about them.
        around: a frame, the one before and the one after it.
        shape_ji: the finer matrix.
        prior: (K, J, I) sharp magnitude on the finer grid, or None.
        model: name of the bundle.
        placement: where to compute.
        consistency: how the measured frequencies are put back, see `consistency`.
    """
    import torch

    from STEnhanceLib.acquisition.centre_crop_torch import resample
    from STEnhanceLib.device import half_precision, half_precision_pays
    from STEnhanceLib.methods.consistency import Measurement
    from STEnhanceLib.networks.stenhance_sr import aligned_inputs

    @functools.lru_cache(maxsize=3)  # a step that follows asks for neighbours, too
    def frame(t: int) -> Estimate:
        low = np.stack([scan.measured(n) for n in around(t)], axis=1)  # (K, 3, j, i)
        shown = None if scan.magnitudes is None else scan.magnitudes(t)[:, None]

        def sharpened(network, device, largest) -> tuple[torch.Tensor, torch.Tensor]:
            results = []
            if half_precision_pays(device):
                network.to(memory_format=torch.channels_last)  # a seventh faster
            for part in chunks(len(low), shape_ji[0] * shape_ji[1], largest):
                given = torch.from_numpy(low[part]).to(device)
                sharp = None if prior is None else torch.from_numpy(prior[part, None]).to(device)
                images, sharp = aligned_inputs(given.abs() if given.is_complex() else given, sharp, shape_ji)
                supported = images[:, :1]
                if given.is_complex():
                    supported = resample(given[:, :1], shape_ji)
                    images = torch.cat([supported.abs(), images[:, 1:]], dim=1)
                with half_precision(device):
                    fine = _refined(network, images, sharp, scan, largest)
                if given.is_complex():
                    fine = fine * supported.sgn()  # its phase
                magnitudes = None if shown is None else torch.from_numpy(shown[part]).to(device)
                measured = Measurement(given[:, :1], magnitudes, scan.window, scan.noise)
                fine, supported = measured.put_back(fine, consistency)
                results.append((fine[:, 0].cpu(), supported[:, 0].cpu()))
            return tuple(torch.cat(each) for each in zip(*results, strict=True))

        return Estimate(*(images.numpy() for images in placement.run(model, sharpened)))

    return frame


def _refined(network, zero_filled, prior, scan, largest) -> torch.Tensor:
    """What the network makes of (B, 3, J, I) and a prior of (B, 1, J, I) or None: (B, 1, J, I)."""
    import torch

    from STEnhanceLib.networks.stenhance_sr import FOLD, FRAMES, scan_conditions

    shape_ji = zero_filled.shape[-2:]
    share = zero_filled.new_tensor([[small / large for small, large in zip(scan.measured_ji, shape_ji, strict=True)]])
    support = share.expand(len(zero_filled), 2)
    has_prior = None if prior is None else prior.flatten(1).any(dim=1, keepdim=True)
    noise, edges = (zero_filled.new_tensor([values]) for values in ([scan.noise], scan.edges))
    told = scan_conditions(noise, edges).expand(len(zero_filled), -1)

    def apply(tile: torch.Tensor) -> torch.Tensor:
        sharp = None if prior is None else tile[:, FRAMES:]
        return network(tile[:, :FRAMES], sharp, support, has_prior, told).float()

    images = zero_filled if prior is None else torch.cat([zero_filled, prior], dim=1)
    return in_tiles(apply, images, network.radius, multiple=FOLD, largest=largest)
