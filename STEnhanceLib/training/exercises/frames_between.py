"""Stage 1 of TSSC-Net practises to denoise what lies between two frames, however many and whenever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib.networks import ddim
from STEnhanceLib.networks.diffusion_transformer import linear_blend
from STEnhanceLib.networks.tssc_net import volumes_between
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.gaps import gap, tuning_gap
from STEnhanceLib.training.exercises.images import mean_scores
from STEnhanceLib.training.stock import Stock

FRAMES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15)
STEPS = 4  # of the diffusion, to watch the training
SLICES = 3  # for the same


class Batch(NamedTuple):
    """Gaps with the same number of frames."""

    ends: torch.Tensor  # (B, 2, 1, J, I)
    fractions: torch.Tensor  # (B, F)
    truth: torch.Tensor  # (B, F, 1, J, I)


class FramesBetween:
    """See the module.

    Args:
        stock: what there is to learn from.
        device: where batches go.
        windows: samples of a batch and the side of their windows, one pair of them drawn for each batch: small ones
            for many scenes, large ones for motion across much of the image.
    """

    def __init__(
        self, stock: Stock, device: torch.device, *, windows: Sequence[tuple[int, int]] = ((32, 96), (8, 192))
    ):
        self.stock, self.device, self.windows = stock, device, windows

    def batch(self, rng: np.random.Generator) -> Batch:
        """Windows of single slices, each from a gap of its own."""
        frames = int(rng.choice(FRAMES))
        count, side = self.windows[rng.integers(len(self.windows))]
        gaps = [gap(self.stock, rng, frames, 1, (side, side)) for _ in range(count)]
        return Batch(*(torch.stack(parts).to(self.device) for parts in zip(*gaps, strict=True)))

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Squared error of the predicted differences from the blend, at a random level of noise per sample."""
        clean = (batch.truth - linear_blend(batch.ends, batch.fractions)) / network.spread
        # More of the noisy levels, where motion has to be found out; at the others most of it can be seen.
        level = np.ceil(ddim.LEVELS * np.sqrt(1 - rng.random(len(clean)))).astype(np.int64)
        level = torch.from_numpy(level).to(self.device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32)).to(self.device)
        found = network(ddim.noised(clean, noise, level), batch.ends, batch.fractions, level)
        return functional.mse_loss(found.float(), clean)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR from end-diastole to end-systole of the tuning patient, and of the linear blend."""
        if self.stock.tuning is None:
            return {}
        ends, fractions, truth = tuning_gap(self.stock.tuning)
        some = np.linspace(0, truth.shape[1] - 1, SLICES + 2).round().astype(int)[1:-1]
        ends, truth = ends[:, some].to(self.device), truth[:, some].to(self.device)
        found = volumes_between(network, None, ends, fractions, steps=STEPS, generator=torch.Generator().manual_seed(0))
        return {
            "psnr": mean_scores(lambda pair: losses.psnr(*pair), _pairs(found, truth)),
            "psnr_linear": mean_scores(
                lambda pair: losses.psnr(*pair), _pairs(linear_blend(ends[None], fractions[None])[0], truth)
            ),
        }


def _pairs(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(F · K, 2, J, I) of two (F, K, J, I)."""
    return torch.stack([found, truth], dim=2).flatten(0, 1)
