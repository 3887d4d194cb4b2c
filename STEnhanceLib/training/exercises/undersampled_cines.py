"""Unrolled networks practise on cines measured by several coils with few lines or spokes in every frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.cartesian import CartesianOperator, interleaved_mask
from STEnhanceLib.acquisition.coils import birdcage_sensitivities, smooth_phase
from STEnhanceLib.acquisition.noise import complex_noise, noise_std
from STEnhanceLib.acquisition.operators import Operator
from STEnhanceLib.acquisition.radial import RadialOperator, golden_angle_trajectory
from STEnhanceLib.networks.intensity import brightness
from STEnhanceLib.sequence import Grid
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.moving_images import cine
from STEnhanceLib.training.motion import turned_and_zoomed
from STEnhanceLib.training.stock import Stock

SSIM_WEIGHT = 0.05
CARTESIAN, RADIAL = "cartesian", "radial"
# Along the lines everything is measured, so there a strip is enough.
WINDOWS = {CARTESIAN: ((96, 40), (112, 32), (128, 32), (160, 24)), RADIAL: ((64, 64), (80, 64), (64, 80))}
SPOKES = (3, 4, 5, 7)  # 13 for 256 pixels are 3 or 4 for 64 to 80
FRAMES = (12, 16)  # of radial cines, whose operators are kept
TUNING_WINDOW = 128


class Scan(NamedTuple):
    """One slice, measured; the images are about 1 where they are bright."""

    operator: Operator
    samples: torch.Tensor
    truth: torch.Tensor  # (T, J, I) complex64


class UndersampledCines:
    """See the module.

    Args:
        stock: what there is.
        device: where to compute.
        acquisition: `CARTESIAN` lines or `RADIAL` spokes.
        windows: rows and columns, one pair of them for each batch; by default those of `WINDOWS`.
        turned: as for `moving_images.cine`.
    """

    def __init__(
        self,
        stock: Stock,
        device: torch.device,
        acquisition: str,
        windows: Sequence[tuple[int, int]] = (),
        turned: Callable[[torch.Tensor, np.random.Generator], torch.Tensor] = turned_and_zoomed,
    ):
        self.stock, self.device, self.acquisition = stock, device, acquisition
        self.windows, self.turned = windows or WINDOWS[acquisition], turned
        self._spokes: dict[tuple, RadialOperator] = {}  # their matrices take longer to make than a step

    def batch(self, rng: np.random.Generator) -> Scan:
        """One scan with its own anatomy, coils, noise and sampling."""
        shape = self.windows[rng.integers(len(self.windows))]
        frames = int(rng.integers(9, 21)) if self.acquisition == CARTESIAN else FRAMES[rng.integers(len(FRAMES))]
        images = cine(self.stock, rng, frames, shape, self.turned)
        images = images * torch.from_numpy(smooth_phase(_grid(shape), int(rng.integers(2**31))))
        coils = some_coils(rng, shape)
        operator = self._operator(rng, frames, coils)
        return measured(operator, images.to(self.device), rng, percent=rng.uniform(0, 2))

    def loss(self, network, scan: Scan, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error of the complex images and structural similarity of their magnitude."""
        result = network(scan.operator, scan.samples)
        error = losses.charbonnier(torch.view_as_real(result), torch.view_as_real(scan.truth))
        # A magnitude of 0 has no gradient.
        magnitude = (torch.view_as_real(result).square().sum(-1) + 1e-8).sqrt()
        return error + SSIM_WEIGHT * (1 - losses.ssim(magnitude[:, None], scan.truth.abs()[:, None]))

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM on the tuning patient, and of gridding or zero-filling."""
        if self.stock.tuning is None:
            return {}
        scan = tuning_scan(self.stock.tuning, self.acquisition, self.device)
        truth = scan.truth.abs()[:, None]
        scores = {}
        for name, images in (
            ("", network(scan.operator, scan.samples)),
            ("_gridding", scan.operator.gridded(scan.samples)),
        ):
            magnitude = images.abs()[:, None]
            scores["psnr" + name] = float(losses.psnr(magnitude, truth))
            scores["ssim" + name] = float(losses.ssim(magnitude, truth))
        return scores

    def _operator(self, rng: np.random.Generator, frames: int, coils: torch.Tensor) -> Operator:
        coils = coils.to(self.device)
        rows, columns = coils.shape[-2:]
        if self.acquisition == CARTESIAN:
            mask = interleaved_mask(frames, rows, int(rng.integers(4, 11)), int(rng.integers(4, 11)))
            mask = mask[rng.permutation(frames)] if rng.random() < 0.25 else mask
            return CartesianOperator(torch.from_numpy(mask).to(self.device), coils)
        key = (frames, SPOKES[rng.integers(len(SPOKES))], rows, columns)
        if key not in self._spokes:
            trajectory = golden_angle_trajectory(frames, key[1], 2 * max(rows, columns))
            self._spokes[key] = RadialOperator(torch.from_numpy(trajectory).to(self.device), coils)
        return self._spokes[key].with_coils(coils)


def some_coils(rng: np.random.Generator, shape_ji: tuple[int, int]) -> torch.Tensor:
    """(C, J, I) maps of 4 to 8 coils around a field of view of which the window is a part."""
    whole = tuple(int(n * rng.uniform(1, 2)) for n in shape_ji)
    maps = birdcage_sensitivities(_grid(whole), int(rng.integers(4, 9)))[0]
    first = [int(rng.integers(large - n + 1)) for large, n in zip(whole, shape_ji, strict=True)]
    maps = maps[:, first[0] : first[0] + shape_ji[0], first[1] : first[1] + shape_ji[1]]
    turned = np.exp(2j * np.pi * rng.random((len(maps), 1, 1)))
    return torch.from_numpy(np.ascontiguousarray(maps * turned).astype(np.complex64))


def measured(operator: Operator, images: torch.Tensor, rng: np.random.Generator, percent: float) -> Scan:
    """What the scanner gives, on the scale that networks expect."""
    samples = operator.forward(images)
    noise = complex_noise(samples.shape, noise_std(images.cpu().numpy(), percent), rng)
    samples = samples + torch.from_numpy(noise).to(samples) * (samples != 0)
    scale = brightness(operator.time_average(samples))
    return Scan(operator, samples / scale, images / scale)


def tuning_scan(tuning: np.ndarray, acquisition: str, device: torch.device) -> Scan:
    """The middle of the middle slice with 8 coils and 1 % noise: 8× lines, or spokes as sparse as 13 for 256 pixels."""
    count, slices, rows, columns = tuning.shape
    size = min(TUNING_WINDOW, rows, columns)
    j, i = (rows - size) // 2, (columns - size) // 2
    images = torch.from_numpy(tuning[:, slices // 2, j : j + size, i : i + size].copy())
    images = (images * torch.from_numpy(smooth_phase(_grid((size, size)), 0))).to(device)
    coils = torch.from_numpy(birdcage_sensitivities(_grid((size, size)), 8)[0]).to(device)
    if acquisition == CARTESIAN:
        operator = CartesianOperator(torch.from_numpy(interleaved_mask(count, size, 8, 4)).to(device), coils)
    else:
        trajectory = golden_angle_trajectory(count, max(1, round(13 * size / 256)), 2 * size)
        operator = RadialOperator(torch.from_numpy(trajectory).to(device), coils)
    return measured(operator, images, np.random.default_rng(0), percent=1)


def _grid(shape_ji: tuple[int, int]) -> Grid:
    return Grid((1, *shape_ji), np.eye(4), np.zeros(1), False)
