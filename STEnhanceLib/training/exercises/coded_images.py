"""The autoencoder of the latent diffusion practises to bring images back, sharp ones and zero-filled ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.training import losses
from STEnhanceLib.training.degradation import degraded, small_matrix
from STEnhanceLib.training.exercises.images import brightened, cut, mean_scores, moments
from STEnhanceLib.training.stock import Stock

PLACES = 2  # four images each make a batch
BLURRED = 0.25  # share of the batches that a scan with a smaller matrix gave
AROUND = 144  # pixels per side that are turned before windows are cut
EDGE_WEIGHT, COMMITMENT = 0.5, 0.25


class CodedImages:
    """See the module.

    Args:
        stock: what there is to learn from.
        device: where batches go.
        side: of the windows.
    """

    def __init__(self, stock: Stock, device: torch.device, *, side: int = 96):
        self.stock, self.device, self.side = stock, device, side

    def batch(self, rng: np.random.Generator) -> torch.Tensor:
        """(B, 1, side, side) on an intensity scale of about 1: four moments each of a few places."""
        found = []
        for _ in range(PLACES):
            images = brightened(moments(self.stock, rng, AROUND), rng)
            if rng.random() < BLURRED:
                size = images.shape[-2:]
                images = resample(degraded(images, small_matrix(rng, size), rng).images, size)
            found += [cut(image[None], (self.side, self.side), rng) for image in images]
        return torch.stack(found).to(self.device)

    def loss(self, network, batch: torch.Tensor, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error of image and gradients; latents are held near their codes."""
        coded = network(batch)
        error = losses.charbonnier(coded.images, batch) + EDGE_WEIGHT * losses.edges(coded.images, batch)
        return error + COMMITMENT * coded.commitment

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM of the inner half of some frames of the tuning patient: what caps the diffusion."""
        cine = self.stock.tuning
        if cine is None:
            return {}
        rows, columns = (slice(n // 4, n - n // 4) for n in cine.shape[-2:])
        truth = torch.from_numpy(cine[::7, 1::4, rows, columns].copy()).to(self.device).flatten(0, 1)
        found = torch.cat([network(image[None, None]).images[0] for image in truth])
        pairs = torch.stack([found, truth], dim=1)[:, :, None, None]
        return {
            "psnr": mean_scores(lambda pair: losses.psnr(*pair), pairs),
            "ssim": mean_scores(lambda pair: losses.ssim(*pair), pairs),
        }
