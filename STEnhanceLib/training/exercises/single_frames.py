"""EDSR practises on single frames: a small window of a low-resolution image in, the same of the sharp image out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.training import losses
from STEnhanceLib.training.degradation import degraded
from STEnhanceLib.training.exercises.images import brightened, mean_scores, moments
from STEnhanceLib.training.stock import Stock

BATCH = 16
WINDOW = 24  # low-resolution pixels per side
EDGE_WEIGHT = 0.5


class Batch(NamedTuple):
    """Windows of (B, 1, 24, 24) and (B, 1, 24 · scale, 24 · scale)."""

    low: torch.Tensor
    truth: torch.Tensor


class SingleFrames:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device, scale: int):
        self.stock, self.device, self.scale = stock, device, scale

    def batch(self, rng: np.random.Generator) -> Batch:
        """Four windows each of a few images, scanned as a whole, so that windows have no edges of their own."""
        low, truth = zip(*(pair for _ in range(BATCH // 4) for pair in self._windows(rng, 4)), strict=True)
        return Batch(torch.stack(low).to(self.device), torch.stack(truth).to(self.device))

    def _windows(self, rng, count):
        sharp = brightened(moments(self.stock, rng)[:1], rng)
        small = tuple(n // self.scale for n in sharp.shape[-2:])
        sharp = sharp[..., : small[0] * self.scale, : small[1] * self.scale]
        low = degraded(sharp, small, rng).images
        scale = torch.quantile(low.abs(), 0.999).clamp_min(1e-3)
        for _ in range(count):
            j, i = (int(rng.integers(n - WINDOW + 1)) for n in small)
            fine = (slice(j * self.scale, (j + WINDOW) * self.scale), slice(i * self.scale, (i + WINDOW) * self.scale))
            yield low[:, j : j + WINDOW, i : i + WINDOW] / scale, sharp[:, fine[0], fine[1]] / scale

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """The edge-aware loss: absolute error of the image and of its gradients."""
        result = network(batch.low).float()
        return losses.charbonnier(result, batch.truth) + EDGE_WEIGHT * losses.edges(result, batch.truth)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM of whole frames on the middle slice of the tuning patient, beside zero-filling."""
        if self.stock.tuning is None:
            return {}
        cine = self.stock.tuning[::5, self.stock.tuning.shape[1] // 2, None]
        truth = torch.from_numpy(cine).to(self.device)[:, None]
        rows, columns = truth.shape[-2:]
        low = resample(truth, (rows // self.scale, columns // self.scale))
        scale = torch.quantile(low.abs(), 0.999)
        candidates = {"": torch.cat([network(frame / scale).float() * scale for frame in low])}
        candidates["_zero_fill"] = resample(low, (rows, columns))[:, 0]
        scores = {}
        for name, result in candidates.items():
            pairs = torch.stack([result.view_as(truth), truth], dim=1)
            scores["psnr" + name] = mean_scores(lambda pair: losses.psnr(pair[0], pair[1]), pairs)
            scores["ssim" + name] = mean_scores(lambda pair: losses.ssim(pair[0], pair[1]), pairs)
        return scores
