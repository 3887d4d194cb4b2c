"""A small 3D U-Net practises to restore volumes; what it sees on the way serves as a loss for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.images import cut
from STEnhanceLib.training.exercises.volumes import consecutive
from STEnhanceLib.training.stock import Stock

BATCH = 2
WINDOW = (64, 64)


class Batch(NamedTuple):
    """(B, 1, K, J, I) each."""

    spoilt: torch.Tensor
    truth: torch.Tensor


class Restoration:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device):
        self.stock, self.device = stock, device

    def batch(self, rng: np.random.Generator) -> Batch:
        """Noisy volumes of low resolution, zero-filled, and the good ones."""
        truth = torch.stack([cut(consecutive(self.stock, rng, 1), WINDOW, rng) for _ in range(BATCH)]).to(self.device)
        factor = rng.uniform(1.5, 4)
        low = resample(truth, tuple(round(n / factor) for n in WINDOW))
        noise = torch.from_numpy(rng.standard_normal(low.shape).astype(np.float32)).to(self.device)
        return Batch(resample(low + float(rng.uniform(0, 0.1)) * noise, WINDOW), truth)

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """The absolute error."""
        return losses.charbonnier(network(batch.spoilt).float(), batch.truth)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR on a volume of the tuning patient at half resolution with 5 % noise, before and after."""
        if self.stock.tuning is None:
            return {}
        batch = Restoration(self.stock_of_tuning(), self.device).batch(np.random.default_rng(0))
        restored = network(batch.spoilt).float()
        return {
            "psnr": float(losses.psnr(restored, batch.truth)),
            "psnr_zero_fill": float(losses.psnr(batch.spoilt, batch.truth)),
        }

    def stock_of_tuning(self) -> Stock:
        """A stock that holds the tuning patient only, for validation."""
        return Stock([self.stock.tuning], [self.stock.tuning], [], None, ())
