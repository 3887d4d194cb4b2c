"""DDoS-UNet practises on consecutive volumes, with its own earlier results as priors more and more often.

The paper trained on true earlier volumes and tested on its own results, which drift. Scheduled sampling: Bengio et al.,
NeurIPS 2015 (arXiv 1506.03099).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.networks.ddos_unet import DdosUnet, interpolated
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.images import cut
from STEnhanceLib.training.exercises.volumes import consecutive
from STEnhanceLib.training.stock import Stock

BATCH = 2
SIDES = (56, 64, 80)
MOMENTS = 4  # the prior, and up to three steps on own results
OWN_RESULTS = 0.8  # share at the end of the training
KEPT = (0.10, 0.0625, 0.04)  # shares of k-space, per slice
PERCEPTION_WEIGHT = 0.2


class Batch(NamedTuple):
    """Consecutive moments, (moments, B, 1, K, J, I) each."""

    interpolated: torch.Tensor
    truth: torch.Tensor


class DynamicVolumes:
    """See the module.

    Args:
        stock: what there is to learn from.
        device: where batches go.
        perception: the frozen network whose features are compared, or None for the plain error.
    """

    def __init__(self, stock: Stock, device: torch.device, perception: DdosUnet | None):
        self.stock, self.device, self.perception = stock, device, perception

    def batch(self, rng: np.random.Generator) -> Batch:
        """Windows of two cines, each scanned as a whole with the same share of k-space."""
        shape = (int(rng.choice(SIDES)), int(rng.choice(SIDES)))
        share = float(rng.choice(KEPT)) if rng.random() < 0.7 else float(rng.uniform(0.04, 0.25))
        pairs = [self._windows(shape, share, rng) for _ in range(BATCH)]
        low, truth = (torch.stack(parts, dim=1)[:, :, None].to(self.device) for parts in zip(*pairs, strict=True))
        return Batch(low, truth)

    def _windows(self, shape, share, rng):
        truth = consecutive(self.stock, rng, MOMENTS)
        matrix = truth.shape[-2:]
        low = resample(truth, tuple(round(n * share**0.5) for n in matrix))
        if rng.random() < 0.5:
            low = low + float(rng.uniform(0, 0.02)) * torch.from_numpy(
                rng.standard_normal(low.shape).astype(np.float32)
            )
        scale = torch.quantile(low[0].abs().flatten()[::4], 0.999).clamp_min(1e-3)
        both = torch.stack([interpolated(low, matrix), truth]) / scale
        return cut(both, shape, rng)

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Error of the image and of what the frozen network sees, at the end of a chain of one to three steps."""
        steps = int(rng.integers(1, MOMENTS)) if rng.random() < OWN_RESULTS * progress else 1
        last = int(rng.integers(steps, MOMENTS))
        prior = batch.truth[last - steps]
        with torch.no_grad():
            for moment in range(last - steps + 1, last):
                prior = network(torch.cat([prior, batch.interpolated[moment]], dim=1)).float()
        result = network(torch.cat([prior, batch.interpolated[last]], dim=1)).float()
        truth = batch.truth[last]
        loss = losses.charbonnier(result, truth)
        if self.perception is not None:
            with torch.autocast(self.device.type, torch.bfloat16):
                seen, meant = self.perception.features(result), self.perception.features(truth)
            differences = [(a.float() - b.float()).abs().mean() for a, b in zip(seen, meant, strict=True)]
            loss = loss + PERCEPTION_WEIGHT * sum(differences) / len(differences)
        return loss

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM of `k6` over ten frames of the tuning patient on own results, and at the last of them."""
        if self.stock.tuning is None:
            return {}
        truth = torch.from_numpy(self.stock.tuning[:11, :8, 64:-64, 64:-64].copy()).to(self.device)
        matrix = truth.shape[-2:]
        low = resample(truth, tuple(n // 4 for n in matrix))
        scale = torch.quantile(low[0].abs().flatten(), 0.999)
        fine = interpolated(low, matrix)
        prior = truth[0]
        scores: dict[str, list[float]] = {}
        for t in range(1, len(truth)):
            prior = network(torch.stack([prior, fine[t]])[None] / scale).float()[0, 0] * scale
            zero_filled = resample(low[t], matrix)
            for name, result in (("", prior), ("_zero_fill", zero_filled)):
                scores.setdefault("psnr" + name, []).append(float(losses.psnr(result, truth[t])))
                scores.setdefault("ssim" + name, []).append(float(losses.ssim(result[:, None], truth[t][:, None])))
        last = {"psnr_last": scores["psnr"][-1]}
        return {name: float(np.mean(values)) for name, values in scores.items()} | last
