"""The flow network practises on two frames, without any frame between them, see `motion.cycle`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.motion.cycle import mistakes
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.gaps import gap, tuning_gap
from STEnhanceLib.training.exercises.images import mean_scores
from STEnhanceLib.training.stock import Stock

REAL_ONLY = 0.6  # share of the samples that are no phantoms, beside those among the others, see `gaps`


class Ends(NamedTuple):
    """Pairs of frames, (B, 1, J, I) each."""

    first: torch.Tensor
    second: torch.Tensor


class EndsOfGaps:
    """See the module.

    Args:
        stock: what there is to learn from.
        device: where batches go.
        count: samples of a batch.
        side: of their windows.
    """

    def __init__(self, stock: Stock, device: torch.device, *, count: int = 8, side: int = 128):
        self.stock, self.device, self.count, self.side = stock, device, count, side

    def batch(self, rng: np.random.Generator) -> Ends:
        """Windows of single slices, each of a pair of its own; what was measured between them is left aside."""
        return Ends(*torch.stack([self._ends(rng) for _ in range(self.count)], dim=1).to(self.device))

    def _ends(self, rng: np.random.Generator) -> torch.Tensor:
        real_only = bool(self.stock.cines) and rng.random() < REAL_ONLY
        stock = replace(self.stock, phantoms=[], movements=[]) if real_only else self.stock
        return gap(stock, rng, 1, 1, (self.side, self.side)).ends

    def loss(self, network, batch: Ends, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """See `motion.cycle`."""
        return mistakes(network, *batch, rng).total

    def validate(self, network) -> Mapping[str, float]:
        """PSNR from end-diastole to end-systole of the tuning patient, without the refiner, and of the linear blend."""
        if self.stock.tuning is None:
            return {}
        ends, fractions, truth = tuning_gap(self.stock.tuning)
        first, last = (end[None].to(self.device) for end in ends)
        found = {
            "psnr": network(first, last, fractions.tolist()).frames,
            "psnr_unrefined": network(first, last, fractions.tolist(), refine=False).frames,
            "psnr_linear": [first + fraction * (last - first) for fraction in fractions.tolist()],
        }
        return {
            name: mean_scores(lambda pair: losses.psnr(*pair), _pairs(torch.cat(frames).cpu(), truth))
            for name, frames in found.items()
        }


def _pairs(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(F · K, 2, J, I) of two (F, K, J, I)."""
    return torch.stack([found, truth], dim=2).flatten(0, 1)
