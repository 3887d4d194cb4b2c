"""STEnhance-SR practises on frames with their neighbours, now and then with a sharp prior, for any factor up to 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import replace_centre, resample, with_signs
from STEnhanceLib.networks import stenhance_sr
from STEnhanceLib.training import losses, scans
from STEnhanceLib.training.exercises.images import brightened, cut, moments
from STEnhanceLib.training.stock import Stock

BATCH = 8
SIDES = (112, 128, 144)
AROUND = 176  # pixels per side that are set in motion and turned before a window is cut
PRIOR, ALONE = 0.35, 0.15  # shares of the samples with a prior, and without neighbours
PERFECT = 0.6  # share of the scans without phase, noise and filter
FULL_BAND, LEAST_BAND = 0.2, 0.6  # share of the truths that are brought to the matrix on which they were measured
SSIM_WEIGHT = 0.05


class Batch(NamedTuple):
    """Samples of one shape."""

    zero_filled: torch.Tensor  # (B, 3, J, I)
    prior: torch.Tensor  # (B, 1, J, I), zeros for none
    support: torch.Tensor  # (B, 2)
    scan: torch.Tensor  # (B, 3), see `stenhance_sr.scan_conditions`
    shown: torch.Tensor  # (B, 1, J', I'), as a scanner gives it
    measured_ji: tuple[int, int]
    truth: torch.Tensor  # (B, 1, J, I)
    exact: torch.Tensor  # (B, 1, 1, 1), 1 where the result is held to `shown`, else 0


class CineFrames:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device):
        self.stock, self.device = stock, device

    def batch(self, rng: np.random.Generator) -> Batch:
        """Eight samples of one measured matrix and one that is shown; each has its own scanner."""
        shape = (int(rng.choice(SIDES)), int(rng.choice(SIDES)))
        measured = scans.matrix(rng, shape)
        shown_ji = scans.shown_matrix(rng, measured, shape)
        samples = [
            self._sample(shape, measured, shown_ji, np.random.default_rng(rng.integers(2**63))) for _ in range(BATCH)
        ]
        low, shown, sharp, prior, noise, edges, exact = zip(*samples, strict=True)
        low, shown, sharp, prior = (torch.stack(parts).to(self.device) for parts in (low, shown, sharp, prior))
        zero_filled, prior = stenhance_sr.aligned_inputs(low, prior, shape)
        support = low.new_tensor([[measured[0] / shape[0], measured[1] / shape[1]]]).expand(BATCH, 2)
        scan = stenhance_sr.scan_conditions(low.new_tensor(noise)[:, None], low.new_tensor(edges))
        exact = low.new_tensor(exact).view(-1, 1, 1, 1)
        return Batch(zero_filled, prior, support, scan, shown, measured, sharp, exact)

    def _sample(self, shape, measured, shown_ji, rng):
        sharp = brightened(cut(self._moments(rng), shape, rng), rng)
        scan = scans.scanned(sharp[:3], measured, shown_ji, rng, rng.random() < PERFECT)
        low = scan.low[:1].expand(3, -1, -1) if rng.random() < ALONE else scan.low
        scale = torch.quantile(low[0].abs(), 0.999).clamp_min(1e-3)
        prior = sharp[3:] if rng.random() < PRIOR else torch.zeros_like(sharp[3:])
        parts = (low, scan.shown[:1], sharp[:1], prior)
        return (*(part / scale for part in parts), scan.noise / float(scale), scan.edges, float(scan.exact))

    def _moments(self, rng: np.random.Generator) -> torch.Tensor:
        """The stock's images were interpolated by their scanners; some are used at the matrix that was measured."""
        if rng.random() > FULL_BAND:
            return moments(self.stock, rng, AROUND)
        images = moments(self.stock, rng, int(AROUND / LEAST_BAND))
        measured = tuple(round(n * rng.uniform(LEAST_BAND, 0.9)) for n in images.shape[-2:])
        return resample(images, measured)

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error and structural similarity, after data consistency where the samples allow it."""
        result = network(batch.zero_filled, batch.prior, batch.support, None, batch.scan).float()
        with torch.no_grad():
            measured = with_signs(result, batch.shown, batch.measured_ji)
        result = torch.lerp(result, replace_centre(result, measured), batch.exact)
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
