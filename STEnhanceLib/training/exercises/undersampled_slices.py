"""The k-space CNNs practise on single slices and short cines, of which a random part of the lines was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.cartesian import CartesianOperator, interleaved_mask, random_mask
from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.acquisition.coils import birdcage_sensitivities, smooth_phase
from STEnhanceLib.acquisition.noise import complex_noise
from STEnhanceLib.acquisition.operators import slice_operators
from STEnhanceLib.acquisition.simulate import simulate
from STEnhanceLib.networks.kspace_cnn import neighbours
from STEnhanceLib.sequence import Grid, ImageSequence
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.images import brightened, cut, mean_scores
from STEnhanceLib.training.exercises.moving_images import cine
from STEnhanceLib.training.motion import turned_and_zoomed
from STEnhanceLib.training.stock import Stock

SIDES = (112, 128, 144)
STILLS, CINES, LENGTH = 8, 2, 5  # of a batch: so many stills, or so many cines of so many frames
STATIC, BRAIN = 0.4, 0.5  # shares: batches of stills, and of these the brains
SEVERAL_COILS = 0.25  # share of the batches
COARSER = 2.0  # pixels of a window are up to so many times larger than those of the image: more of the body in it
ACCELERATION, CENTRE_SHARE, INTERLEAVED = (3.0, 6.0), (0.04, 0.12), (3, 9)
NOISE_PERCENT = 2.0


class Scan(NamedTuple):
    """A batch: stills and cines one after another."""

    operator: CartesianOperator
    samples: torch.Tensor  # (N, C, J, I)
    around: torch.Tensor  # (N, 2)
    truth: torch.Tensor  # (N, J, I) complex64; brightest about 1


class UndersampledSlices:
    """See the module.

    Args:
        stock: what there is.
        device: where to compute.
        published: only what was published: single slices, one coil, mean squared error.
    """

    def __init__(self, stock: Stock, device: torch.device, *, published: bool = False):
        self.stock, self.device, self.published = stock, device, published
        self._brains = [image for slices in stock.brains.values() for image in slices]
        self._has_others = bool(stock.cines or stock.stills or stock.phantoms)

    def batch(self, rng: np.random.Generator) -> Scan:
        """Stills or cines of one matrix, with one set of coils; each with its own phase and noise."""
        shape = (int(rng.choice(SIDES)), int(rng.choice(SIDES)))
        if self.published or rng.random() < STATIC:
            groups = [self._still(shape, rng) for _ in range(STILLS)]
        else:
            groups = [_coarser(shape, rng, lambda side: cine(self.stock, rng, LENGTH, side)) for _ in range(CINES)]
        coils, mask = self._acquisition(rng, shape, [len(images) for images in groups])
        operator = CartesianOperator(mask.to(self.device), coils.to(self.device))
        phases = [torch.from_numpy(smooth_phase(_grid(shape), int(rng.integers(2**31)))) for _ in groups]
        truth = torch.cat([images * phase for images, phase in zip(groups, phases, strict=True)]).to(self.device)
        samples = operator.forward(truth)
        percent = np.repeat(rng.uniform(0, NOISE_PERCENT, len(groups)), [len(images) for images in groups])
        noise = torch.from_numpy(complex_noise(tuple(samples.shape), 1.0, rng)).to(self.device)
        strength = torch.from_numpy(percent.astype(np.float32) / 100).to(self.device)[:, None, None, None]
        samples = samples + strength * noise * operator.mask[:, None, :, None]
        scale = _brightness(operator.adjoint(samples), [len(images) for images in groups])
        return Scan(operator, samples / scale[:, None], _around(groups).to(self.device), truth / scale)

    def loss(self, network, scan: Scan, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error of the complex images after data consistency; the squared one as it was published."""
        error = torch.view_as_real(network(scan.operator, scan.samples, scan.around) - scan.truth)
        return error.square().mean() if self.published else losses.charbonnier(error, torch.zeros_like(error))

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM of `h4` on the middle slice of the tuning patient, and of zero-filling."""
        if self.stock.tuning is None:
            return {}
        middle = self.stock.tuning.shape[1] // 2
        good = ImageSequence(self.stock.tuning[:, [middle]], np.eye(4), np.arange(len(self.stock.tuning)), True)
        operator, samples = next(slice_operators(simulate(good, "h4").kspace, self.device))
        truth = torch.tensor(good.frames, device=self.device)
        zero_filled = operator.adjoint(samples)
        scale = _brightness(zero_filled, [len(samples)])
        result = network(operator, samples / scale[:, None], neighbours(len(samples), True).to(self.device)) * scale
        scores = {}
        for name, images in (("", result), ("_zero_fill", zero_filled)):
            pairs = torch.stack([images.abs()[:, None], truth], dim=1)
            scores["psnr" + name] = mean_scores(lambda pair: losses.psnr(pair[:1], pair[1:]), pairs)
            scores["ssim" + name] = mean_scores(lambda pair: losses.ssim(pair[:1], pair[1:]), pairs)
        return scores

    def _still(self, shape: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
        """(1, J, I)"""
        if not self._brains or (self._has_others and rng.random() > BRAIN):
            return _coarser(shape, rng, lambda side: cine(self.stock, rng, 1, side))
        brain = torch.from_numpy(self._brains[rng.integers(len(self._brains))])[None]
        return brightened(_coarser(shape, rng, lambda side: cut(turned_and_zoomed(brain, rng), side, rng)), rng)

    def _acquisition(
        self, rng: np.random.Generator, shape: tuple[int, int], lengths: list[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Coils (C, J, I) and mask (N, J); interleaved lines now and then where several coils can unfold them."""
        coils = np.ones((1, *shape), np.complex64)
        draw = _random_lines
        if not self.published and rng.random() < SEVERAL_COILS:
            coils = birdcage_sensitivities(_grid(shape), int(rng.integers(4, 9)))[0]
            draw = _interleaved_lines if rng.random() < 0.5 else draw
        return torch.from_numpy(coils), torch.from_numpy(np.concatenate([draw(rng, n, shape[0]) for n in lengths]))


def _random_lines(rng: np.random.Generator, frames: int, rows: int) -> np.ndarray:
    return random_mask(frames, rows, rng.uniform(*ACCELERATION), rng.uniform(*CENTRE_SHARE), rng)


def _interleaved_lines(rng: np.random.Generator, frames: int, rows: int) -> np.ndarray:
    return interleaved_mask(frames, rows, int(rng.integers(*INTERLEAVED)))


def _coarser(
    shape: tuple[int, int], rng: np.random.Generator, images_of: Callable[[tuple[int, int]], torch.Tensor]
) -> torch.Tensor:
    """(T, J, I) images of a larger window, half of them by k-space crop with more of the body in as many pixels."""
    by = rng.uniform(1, COARSER) if rng.random() < 0.5 else 1.0
    return resample(images_of(tuple(round(by * n) for n in shape)), shape)


def _around(groups: list[torch.Tensor]) -> torch.Tensor:
    firsts = np.cumsum([0, *(len(images) for images in groups)])
    return torch.cat([neighbours(len(images), False) + int(n) for images, n in zip(groups, firsts, strict=False)])


def _brightness(images: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """(N, 1, 1) the 99.9th percentile of the magnitude of each group."""
    found = [np.percentile(part.abs().cpu().numpy(), 99.9) for part in images.split(lengths)]
    return images.real.new_tensor(np.repeat(found, lengths)).clamp_min(1e-3)[:, None, None]


def _grid(shape: tuple[int, int]) -> Grid:
    return Grid((1, *shape), np.eye(4), np.zeros(1))
