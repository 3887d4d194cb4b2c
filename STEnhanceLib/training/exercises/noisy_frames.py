"""The band denoiser practises on frames with Rician noise of any level, and is scored on the recombined image."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch

from STEnhanceLib.methods import band_thresholds, frequency_bands
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.images import brightened, cut, moments
from STEnhanceLib.training.stock import Stock

BATCH = 8
SIDE, AROUND = 96, 128  # pixels per side that are practised on, and that are set in motion and turned before
LEVELS = (0.005, 0.12)  # of the noise, where the brightest tissue is 1
BANDS = (0.05, 0.3)  # low bands; half of the samples have the usual one
USUAL_BAND = 0.1
MISJUDGED = 0.1  # typical error of the noise level that the network is told, as part of it
ALONE = 0.15  # share of the samples without neighbours
VALIDATED_LEVEL = 0.05


class Batch(NamedTuple):
    """Samples with one low band."""

    noisy: torch.Tensor  # (B, 3, J, I) frames t, t-1, t+1
    level: torch.Tensor  # (B, 1) as the network is told
    true_level: torch.Tensor  # (B, 1)
    truth: torch.Tensor  # (B, 1, J, I)
    weight: torch.Tensor  # (J, I) of the high band


class NoisyFrames:
    """See the module."""

    def __init__(self, stock: Stock, device: torch.device):
        self.stock, self.device = stock, device

    def batch(self, rng: np.random.Generator) -> Batch:
        """Eight windows, each with a noise level of its own."""
        samples = [self._sample(np.random.default_rng(rng.integers(2**63))) for _ in range(BATCH)]
        noisy, level, truth = (torch.stack(parts).to(self.device) for parts in zip(*samples, strict=True))
        told = level * torch.from_numpy(np.exp(MISJUDGED * rng.standard_normal((BATCH, 1)))).to(level)
        usual = rng.random() < 0.5
        band = USUAL_BAND if usual else float(np.exp(rng.uniform(*np.log(BANDS))))
        return Batch(noisy, told, level, truth, self._weight((SIDE, SIDE), band))

    def _sample(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sharp = brightened(cut(moments(self.stock, rng, AROUND)[:3], (SIDE, SIDE), rng), rng)
        level = float(np.exp(rng.uniform(*np.log(LEVELS))))
        noisy = rician(sharp, level, rng)
        if rng.random() < ALONE:
            noisy = noisy[:1].expand(3, -1, -1)
        return noisy, torch.tensor([level]), sharp[:1]

    def loss(self, network, batch: Batch, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Squared error of the recombined images, as part of the noise power so that all levels count alike."""
        error = recombined(network, batch.noisy, batch.level, batch.weight) - batch.truth
        return (error / batch.true_level[..., None, None]).square().mean()

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM of slices of the tuning patient with 5 % noise: by network, classically, and as they are."""
        cine = self.stock.tuning
        if cine is None:
            return {}
        scores: dict[str, list[float]] = {}
        count, slices = cine.shape[:2]
        weight = self._weight(cine.shape[2:], USUAL_BAND)
        level = torch.full((1, 1), VALIDATED_LEVEL, device=self.device)
        for k in (slices // 4, slices // 2, 3 * slices // 4):
            truth = torch.from_numpy(cine[:, k])
            noisy = rician(truth, VALIDATED_LEVEL, np.random.default_rng(k))
            for t in range(1, count, 6):
                around = noisy[[t, t - 1, (t + 1) % count]]
                by_network = recombined(network, around[None].to(self.device), level, weight)[0, 0].cpu()
                results = {"": by_network, "_classical": _classical(around), "_noisy": around[0]}
                for name, result in results.items():
                    pair = result[None, None], truth[t][None, None]
                    scores.setdefault("psnr" + name, []).append(float(losses.psnr(*pair)))
                    scores.setdefault("ssim" + name, []).append(float(losses.ssim(*pair)))
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _weight(self, shape_ji: tuple[int, int], low_band: float) -> torch.Tensor:
        return torch.from_numpy(frequency_bands.high_band(shape_ji, low_band)).to(self.device)


def rician(images: torch.Tensor, level: float, rng: np.random.Generator) -> torch.Tensor:
    """The magnitude of images with complex noise of this standard deviation per real and imaginary part."""
    noise = level * torch.from_numpy(rng.standard_normal((2, *images.shape), dtype=np.float32))
    return torch.hypot(images + noise[0], noise[1])


def recombined(network, noisy: torch.Tensor, level: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, 3, J, I) noisy frames t, t-1, t+1 to frames t without the noise of their high band, (B, 1, J, I)."""
    noise = network(filtered(noisy, weight), level).float()
    return noisy[:, :1] - filtered(noise, weight)


def filtered(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(…, J, I) images with each cosine frequency weighted; differentiable, as the transform is a matrix."""
    rows, columns = (_cosines(n, images.device) for n in weight.shape)
    spectrum = rows @ images @ columns.T
    return rows.T @ (weight * spectrum) @ columns


@functools.lru_cache(maxsize=8)
def _cosines(count: int, device: torch.device) -> torch.Tensor:
    """(n, n) the orthonormal cosine transform of n pixels."""
    return torch.from_numpy(scipy.fft.dct(np.eye(count), axis=0, norm="ortho").astype(np.float32)).to(device)


def _classical(around: torch.Tensor) -> torch.Tensor:
    """Frame t by thresholds, from noisy frames t, t-1, t+1."""
    weight = frequency_bands.high_band(tuple(around.shape[1:]), USUAL_BAND)
    now, before, after = (frequency_bands.filtered(image, weight)[None] for image in around.numpy())
    noise = band_thresholds.noise_of([before, now, after], 1, VALIDATED_LEVEL)
    return around[0] - torch.from_numpy(frequency_bands.filtered(noise[0], weight))
