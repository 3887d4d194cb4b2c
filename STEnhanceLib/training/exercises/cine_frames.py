"""STEnhance-SR practises on frames with their neighbours, now and then with a sharp prior, for any factor up to 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import replace_centre, resample
from STEnhanceLib.networks import stenhance_sr
from STEnhanceLib.training import losses
from STEnhanceLib.training.degradation import IMPERFECT, degraded, small_matrix
from STEnhanceLib.training.exercises.images import brightened, cut, moments
from STEnhanceLib.training.stock import Stock

BATCH = 8
SIDES = (112, 128, 144)
AROUND = 176  # pixels per side that are set in motion and turned before a window is cut
PRIOR, ALONE = 0.35, 0.15  # shares of the samples with a prior, and without neighbours
SSIM_WEIGHT = 0.05


class Batch(NamedTuple):
    """Samples of one shape."""

    zero_filled: torch.Tensor  # (B, 3, J, I)
    prior: torch.Tensor  # (B, 1, J, I), zeros for none
    support: torch.Tensor  # (B, 2)
    measured: torch.Tensor  # (B, 1, j, i)
    truth: torch.Tensor  # (B, 1, J, I)
    faithful: bool  # plain crops, to which the result is held exactly


class CineFrames:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device):
        self.stock, self.device = stock, device

    def batch(self, rng: np.random.Generator) -> Batch:
        """Eight samples with one matrix and one factor; plain crops or imperfect scans, not both."""
        shape = (int(rng.choice(SIDES)), int(rng.choice(SIDES)))
        small = small_matrix(rng, shape)
        faithful = rng.random() > IMPERFECT
        samples = [
            self._sample(shape, small, faithful, np.random.default_rng(rng.integers(2**63))) for _ in range(BATCH)
        ]
        low, sharp, prior = zip(*samples, strict=True)
        low, sharp, prior = (torch.stack(parts).to(self.device) for parts in (low, sharp, prior))
        zero_filled, prior = stenhance_sr.aligned_inputs(low, prior, shape)
        support = low.new_tensor([[small[0] / shape[0], small[1] / shape[1]]]).expand(BATCH, 2)
        return Batch(zero_filled, prior, support, low[:, :1], sharp, faithful)

    def _sample(self, shape, small, faithful, rng):
        sharp = brightened(cut(moments(self.stock, rng, AROUND), shape, rng), rng)
        images = degraded(sharp[:3], small, rng, faithful).images
        if rng.random() < ALONE:
            images = images[:1].expand(3, -1, -1)
        scale = torch.quantile(images[0].abs(), 0.999).clamp_min(1e-3)
        prior = sharp[3:] if rng.random() < PRIOR else torch.zeros_like(sharp[3:])
        return images / scale, sharp[:1] / scale, prior / scale

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error and structural similarity, after data consistency where the samples allow it."""
        result = network(batch.zero_filled, batch.prior, batch.support).float()
        if batch.faithful:
            result = replace_centre(result, batch.measured)
        similarity = losses.ssim(result, batch.truth)
        return losses.charbonnier(result, batch.truth) + SSIM_WEIGHT * (1 - similarity)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM of `s4` on slices of the tuning patient, without and with a prior, and of zero-filling."""
        cine = self.stock.tuning
        if cine is None:
            return {}
        count, slices, rows, columns = cine.shape
        scores: dict[str, list[float]] = {}
        for k in (slices // 4, slices // 2, 3 * slices // 4):
            truth = torch.from_numpy(cine[:, k]).to(self.device)
            low = resample(truth, (rows // 4, columns // 4))
            scale = torch.quantile(low.abs(), 0.999)
            for t in range(1, count, 5):
                around = low[[t, t - 1, (t + 1) % count]][None] / scale
                support = around.new_full((1, 2), 0.25)
                for name, prior in (("", None), ("_prior", truth[None, :1] / scale)):
                    zero_filled, aligned = stenhance_sr.aligned_inputs(around, prior, (rows, columns))
                    result = replace_centre(network(zero_filled, aligned, support).float(), around[:, :1]) * scale
                    _note(scores, name, result, truth[t][None, None])
                _note(scores, "_zero_fill", zero_filled[:, :1] * scale, truth[t][None, None])
        return {name: float(np.mean(values)) for name, values in scores.items()}


def _note(scores: dict[str, list[float]], name: str, result: torch.Tensor, truth: torch.Tensor) -> None:
    scores.setdefault("psnr" + name, []).append(float(losses.psnr(result, truth)))
    scores.setdefault("ssim" + name, []).append(float(losses.ssim(result, truth)))
