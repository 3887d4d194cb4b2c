"""Stage 2 of TSSC-Net practises to correct volumes that stage 1 made slice by slice, and linear blends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.networks.diffusion_transformer import DiffusionTransformer, linear_blend
from STEnhanceLib.networks.tssc_net import volumes_between
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.gaps import gap, tuning_gap
from STEnhanceLib.training.exercises.images import mean_scores
from STEnhanceLib.training.stock import Stock
from STEnhanceLib.training.wavelets import wavelet_error

SLICES = 12  # not fewer, see `exercises.volumes`
FRAMES = (1, 2, 3, 4, 5)
TRAINED = 2  # volumes of a gap
OWN = 0.75  # share of the samples that stage 1 made; the rest are linear blends
STEPS = (1, 2, 4, 8)  # of the diffusion
STEPS_WATCHED, SLICES_WATCHED = 4, 6


class Batch(NamedTuple):
    """Volumes with the measured ones before and after them."""

    volumes: torch.Tensor  # (B, 3, K, J, I)
    truth: torch.Tensor  # (B, 1, K, J, I)


class VolumesBetween:
    """See the module.

    Args:
        stock: what there is to learn from.
        device: where batches go.
        stage1: finished and frozen.
        count: gaps of a batch.
        side: of their windows.
    """

    def __init__(
        self, stock: Stock, device: torch.device, stage1: DiffusionTransformer, *, count: int = 4, side: int = 96
    ):
        self.stock, self.device, self.stage1, self.count, self.side = stock, device, stage1, count, side
        self._watched: tuple[torch.Tensor, ...] | None = None

    def batch(self, rng: np.random.Generator) -> Batch:
        """Up to two volumes from each of a few gaps."""
        samples = [self._volumes(rng) for _ in range(self.count)]
        return Batch(*(torch.cat(parts) for parts in zip(*samples, strict=True)))

    def _volumes(self, rng):
        parts = gap(self.stock, rng, int(rng.choice(FRAMES)), SLICES, (self.side, self.side))
        ends, fractions, truth = (part.to(self.device) for part in parts)
        if rng.random() < OWN:
            found = volumes_between(
                self.stage1, None, ends, fractions,
                steps=int(rng.choice(STEPS)), generator=_generator(int(rng.integers(2**62))), at_once=SLICES,
            )  # fmt: skip
        else:
            found = linear_blend(ends[None], fractions[None])[0]
        some = rng.permutation(len(found))[:TRAINED]
        return _with_ends(found[some], ends), truth[some][:, None]

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Squared error, wavelets and total variation, each with weight 1 as published.

        The total variation is that of the error. That of the volume itself would favour flat volumes over true ones:
        with weight 1, a disc of radius r voxels would lose 1 / r of the whole intensity range.
        """
        error = network(batch.volumes).float() - batch.truth
        return error.square().mean() + wavelet_error(error) + losses.total_variation(error)

    def validate(self, network) -> Mapping[str, float]:
        """PSNR from end-diastole to end-systole of the tuning patient, of stage 1 alone, and of the linear blend."""
        if self.stock.tuning is None:
            return {}
        ends, truth, blend, own = self._watch()
        volumes = torch.cat([network(_with_ends(volume[None], ends))[0].float() for volume in own])
        return {
            name: mean_scores(lambda pair: losses.psnr(*pair), torch.stack([found, truth], dim=1))
            for name, found in (("psnr", volumes), ("psnr_stage1", own), ("psnr_linear", blend))
        }

    def _watch(self) -> tuple[torch.Tensor, ...]:
        """Ends, truth, linear blend, and samples of stage 1, which are the same at every check."""
        if self._watched is None:
            ends, fractions, truth = tuning_gap(self.stock.tuning)
            first = max(truth.shape[1] - SLICES_WATCHED, 0) // 2
            inner = slice(first, first + SLICES_WATCHED)
            ends, truth = ends[:, inner].to(self.device), truth[:, inner].to(self.device)
            own = volumes_between(
                self.stage1, None, ends, fractions, steps=STEPS_WATCHED, generator=_generator(0), at_once=2
            )
            self._watched = ends, truth, linear_blend(ends[None], fractions[None])[0], own
        return self._watched


def _with_ends(volumes: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """(F, K, J, I) and (2, K, J, I) → (F, 3, K, J, I)."""
    return torch.cat([volumes[:, None], ends[None].expand(len(volumes), -1, -1, -1, -1)], dim=1)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
