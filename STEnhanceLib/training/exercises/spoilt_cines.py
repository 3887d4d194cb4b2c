"""The xt/yt U-Net on images alone practises on magnitude images with the artefacts of missing lines and spokes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.networks.intensity import brightness
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.undersampled_cines import (
    CARTESIAN,
    RADIAL,
    SSIM_WEIGHT,
    Scan,
    UndersampledCines,
    tuning_scan,
)
from STEnhanceLib.training.stock import Stock

CLEAN = 0.1  # share of the samples without artefacts, which are to stay as they are


class Spoilt(NamedTuple):
    """Magnitude images, both (1, T, J, I)."""

    images: torch.Tensor
    truth: torch.Tensor


class SpoiltCines:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device):
        self.stock, self.device = stock, device
        self._scans = {kind: UndersampledCines(stock, device, kind) for kind in (CARTESIAN, RADIAL)}

    def batch(self, rng: np.random.Generator) -> Spoilt:
        """One cine with the artefacts of either acquisition."""
        scan = self._scans[CARTESIAN if rng.random() < 0.5 else RADIAL].batch(rng)
        return _as_clean(scan) if rng.random() < CLEAN else as_images(scan)

    def loss(self, network, batch: Spoilt, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error and structural similarity."""
        result = network(batch.images).float()
        similarity = losses.ssim(result[0][:, None], batch.truth[0][:, None])
        return losses.charbonnier(result, batch.truth) + SSIM_WEIGHT * (1 - similarity)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR on the tuning patient for lines and spokes, and of the images with their artefacts."""
        if self.stock.tuning is None:
            return {}
        scores = {}
        for kind in (CARTESIAN, RADIAL):
            images, truth = as_images(tuning_scan(self.stock.tuning, kind, self.device))
            scores[f"psnr_{kind}"] = float(losses.psnr(network(images), truth))
            scores[f"psnr_{kind}_input"] = float(losses.psnr(images, truth))
        return scores


def as_images(scan: Scan) -> Spoilt:
    """What a user holds who has no k-space."""
    images = scan.operator.gridded(scan.samples).abs()
    scale = brightness(images.mean(0))
    return Spoilt(images[None] / scale, scan.truth.abs()[None] / scale)


def _as_clean(scan: Scan) -> Spoilt:
    truth = scan.truth.abs()[None]
    return Spoilt(truth, truth)
