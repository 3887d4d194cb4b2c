"""STEnhance-SR across slices practises on planes at right angles to the slices.

No patient at hand was scanned with thin slices. Most planes are therefore in-plane images whose rows play the slices,
thinned out to some coarser distance first; the others are cut from real stacks, whose slices are 8 to 10 mm thick. The
trick of learning one direction from another: Zhao et al., SMORE, IEEE TMI 2021 (40:805).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition import thick_slices
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.images import brightened, moments
from STEnhanceLib.training.stock import Stock

BATCH = 8
COLUMNS = 128
REAL = 0.3  # share of the batches cut from real stacks
THINNED = (1, 2, 3, 4, 6)
FACTORS = (2.0, 3.0, 4.0, 4.0, 4.0)
SSIM_WEIGHT = 0.05


class Batch(NamedTuple):
    """Planes of one shape; `thick` (B, 1, m, I) is what was measured of `truth` (B, 1, K, I)."""

    interpolated: torch.Tensor  # (B, 3, K, I): t, t-1, t+1
    support: torch.Tensor  # (B, 2)
    thick: torch.Tensor
    truth: torch.Tensor
    factor: float


class ThickPlanes:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device):
        self.stock, self.device = stock, device

    def batch(self, rng: np.random.Generator) -> Batch:
        """Eight planes with the same number of slices and the same factor."""
        factor = float(rng.choice(FACTORS))
        if self.stock.cines and rng.random() < REAL:
            cine = self.stock.cines[rng.integers(len(self.stock.cines))]
            thick = (cine.shape[1] - 1) // int(factor) + 1
            planes = [self._of_stack(cine, rng) for _ in range(BATCH)]
        else:
            thick, thinned = int(rng.integers(3, 9)), int(rng.choice(THINNED))
            planes = [self._of_image(thick_slices.fine_slices(thick, factor), thinned, rng) for _ in range(BATCH)]
        fine = thick_slices.fine_slices(thick, factor)
        sharp = torch.stack(planes).to(self.device)
        low = thick_slices.measure(sharp, thick, factor)
        scale = torch.quantile(low[:, 0].flatten(1).abs(), 0.999, dim=1).clamp_min(1e-3).view(-1, 1, 1, 1, 1)
        low, sharp = low / scale, sharp / scale
        interpolated = thick_slices.start(low, factor).squeeze(-2)
        support = low.new_tensor([[1 / factor, 1.0]]).expand(BATCH, 2)
        return Batch(interpolated, support, low[:, :1].squeeze(-2), sharp[:, :1, :fine].squeeze(-2), factor)

    def _of_stack(self, cine: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """(3, K, 1, 128): one plane along the slices at t, t-1 and t+1."""
        t, along_rows = int(rng.integers(len(cine))), rng.random() < 0.5
        three = torch.from_numpy(cine[[t, t - 1, (t + 1) % len(cine)]])
        three = three if along_rows else three.transpose(-1, -2)
        row, first = int(rng.integers(three.shape[-2])), int(rng.integers(three.shape[-1] - COLUMNS + 1))
        plane = three[..., row : row + 1, first : first + COLUMNS]
        return brightened(plane.flip(1) if rng.random() < 0.5 else plane, rng)

    def _of_image(self, slices: int, thinned: int, rng: np.random.Generator) -> torch.Tensor:
        """(3, slices, 1, 128): rows of an image at t, t-1 and t+1, as slices `thinned` times as thick as pixels."""
        images = brightened(moments(self.stock, rng)[:3], rng)
        thinned = max(1, min(thinned, images.shape[-2] // slices))
        rows = thick_slices.measure(images[:, :, None], images.shape[-2] // thinned, thinned)
        top, first = int(rng.integers(rows.shape[1] - slices + 1)), int(rng.integers(rows.shape[-1] - COLUMNS + 1))
        return rows[:, top : top + slices, :, first : first + COLUMNS]

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Absolute error and structural similarity after data consistency."""
        result = network(batch.interpolated, None, batch.support).float()
        result = _consistent(result, batch.thick, batch.factor)
        similarity = losses.ssim(result, batch.truth) if min(result.shape[-2:]) >= losses.SSIM_WINDOW else 1.0
        return losses.charbonnier(result, batch.truth) + SSIM_WEIGHT * (1 - similarity)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR of `z4` on the tuning patient, planes along one axis only, beside consistent cubic interpolation."""
        if self.stock.tuning is None:
            return {}
        factor = 4.0
        cine = torch.from_numpy(self.stock.tuning[::7]).to(self.device)
        thick = (cine.shape[1] - 1) // int(factor) + 1
        low = thick_slices.measure(cine, thick, factor)
        start = thick_slices.start(low, factor)
        truth = cine[:, : start.shape[1]]
        result = torch.empty_like(start)
        for t in range(len(cine)):
            planes = start[t].movedim(1, 0)[:, None]  # (J, 1, K, I)
            measured = low[t].movedim(1, 0)[:, None]
            scale = torch.quantile(low[t].flatten()[::4], 0.999)
            support = planes.new_tensor([[1 / factor, 1.0]]).expand(len(planes), 2)
            fine = network((planes / scale).expand(-1, 3, -1, -1), None, support).float() * scale
            result[t] = _consistent(fine, measured, factor)[:, 0].movedim(0, 1)
        pairs = {"": result, "_zero_fill": start}
        psnr = {"psnr" + name: float(losses.psnr(images, truth)) for name, images in pairs.items()}
        ssim = {
            "ssim" + name: float(losses.ssim(images.flatten(0, 1)[:, None], truth.flatten(0, 1)[:, None]))
            for name, images in pairs.items()
        }
        return psnr | ssim


def _consistent(planes: torch.Tensor, thick: torch.Tensor, factor: float) -> torch.Tensor:
    """(B, 1, K, I) planes held to (B, 1, m, I) measured ones."""
    return thick_slices.replace_measured(planes[..., None, :], thick[..., None, :], factor).squeeze(-2)
