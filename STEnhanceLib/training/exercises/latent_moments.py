"""The joint space-time diffusion practises to find the latents of sharp frames, measured and between measured ones."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.device import half_precision_pays
from STEnhanceLib.networks import residual_shift
from STEnhanceLib.networks.intensity import brightness
from STEnhanceLib.networks.latent_diffusion import drawn, latent_size, sharpened, start_of
from STEnhanceLib.networks.vq_autoencoder import VqAutoencoder
from STEnhanceLib.training import losses
from STEnhanceLib.training.exercises.images import mean_scores
from STEnhanceLib.training.exercises.moments_at_low_resolution import Moments, moments, practised
from STEnhanceLib.training.stock import Stock

AROUND = 16  # pixels more per side in which tissue moves before a window is cut
PIXEL_FLOOR, LATENT_FLOOR = 2e-4, 0.05  # squared; errors of the start below count as if there were this much
SPAN, WANTED, FACTOR = 8, (0, 2, 4, 6), 4  # to watch the training: protocol st48
STEPS = (1, 4)


class LatentMoments:
    """See the module.

    Args:
        stock: what there is to learn from.
        device: where batches go.
        autoencoder: trained.
        scenes: how many are registered before the first batch, an eighth of a second each.
        count: samples of a batch.
        side: of their windows, a multiple of 16.
    """

    def __init__(  # noqa: PLR0917  (as other exercises, and their sizes)
        self, stock: Stock, device: torch.device, autoencoder: VqAutoencoder, scenes: int = 600, count: int = 8,
        side: int = 96,
    ):  # fmt: skip
        self.stock, self.device, self.autoencoder = stock, device, autoencoder
        self.scenes, self.count, self.side = scenes, count, side
        self._tuning = None if stock.tuning is None else _tuning(stock.tuning)

    @functools.cached_property
    def pool(self) -> Moments:
        """All that batches are cut from."""
        generators = (np.random.default_rng((0, number)) for number in range(self.scenes))
        found = [practised(self.stock, rng, self.side + AROUND) for rng in generators]
        return Moments(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def batch(self, rng: np.random.Generator) -> Moments:
        """Windows of moments from anywhere in the pool, mirrored and turned by quarters."""
        some = [self._window(int(number), rng) for number in rng.integers(len(self.pool.truth), size=self.count)]
        return Moments(*(torch.stack(parts).to(self.device) for parts in zip(*some, strict=True)))

    def _window(self, number: int, rng: np.random.Generator) -> Moments:
        images, truth, fraction, support = (part[number] for part in self.pool)
        j, i = rng.integers(AROUND + 1, size=2)
        together = torch.cat([images, truth])[:, j : j + self.side, i : i + self.side]
        if rng.random() < 0.5:
            together = together.flip(-1)
        turns = int(rng.integers(4))
        together = torch.rot90(together, turns, (-2, -1))
        return Moments(together[:-1], together[-1:], fraction, support.flip(0) if turns % 2 else support)

    def loss(self, network, batch: Moments, progress: float, rng: np.random.Generator) -> torch.Tensor:
        """Squared errors of latents and images, as shares of those that registration and zero-filling leave."""
        clean, start = (start_of(self.autoencoder, images) for images in (batch.truth, batch.images))
        # More of the noisy levels, where all has to be found out from the conditions.
        level = np.ceil(residual_shift.LEVELS * np.sqrt(1 - rng.random(len(clean)))).astype(np.int64)
        level = torch.from_numpy(level).to(self.device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32)).to(self.device)
        noisy = residual_shift.shifted(clean, start, noise, level)
        found = network(noisy, level, start, batch.images, batch.fraction, batch.support).float()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half_precision_pays(self.device)):
            images = sharpened(self.autoencoder, batch.images, start, found)
        in_latents = _squared(found, clean) / (_squared(start, clean) + LATENT_FLOOR)
        in_images = _squared(images, batch.truth) / (_squared(batch.images[:, :1], batch.truth) + PIXEL_FLOOR)
        return (in_latents + in_images).mean()

    def validate(self, network) -> Mapping[str, float]:
        """PSNR and SSIM on the tuning patient by protocol `st48`, and of zero-filling and registration alone."""
        if self._tuning is None:
            return {}
        truth = self._tuning.truth
        found = {"_start": self._tuning.images[:, :1]} | {f"_{steps}": self._drawn(network, steps) for steps in STEPS}
        scores = {}
        for name, images in found.items():
            pairs = torch.stack([images, truth], dim=1)[:, :, None]
            scores["psnr" + name] = mean_scores(lambda pair: losses.psnr(*pair), pairs)
            scores["ssim" + name] = mean_scores(lambda pair: losses.ssim(*pair), pairs)
        return scores

    def _drawn(self, network, steps: int) -> torch.Tensor:
        images, _, fraction, support = (part.to(self.device) for part in self._tuning)
        shape = (steps, len(images), self.autoencoder.channels, *latent_size(network, images.shape[-2:]))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        return drawn(self.autoencoder, network, images, fraction, support, noise).cpu()


def _squared(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one - other).square().mean((1, 2, 3))


def _tuning(cine: np.ndarray) -> Moments:
    """The inner half of two slices, frames from near end-diastole to near end-systole."""
    rows, columns = (slice(n // 4, n - n // 4) for n in cine.shape[-2:])
    found = []
    for k in (cine.shape[1] // 3, 2 * cine.shape[1] // 3):
        truth = torch.from_numpy(cine[: 2 * SPAN + 1, k, rows, columns].copy())
        low = resample(truth[::SPAN], tuple(n // FACTOR for n in truth.shape[-2:]))
        scale = brightness(low)
        found.append(moments(truth / scale, low / scale, SPAN, list(WANTED), 1.3))
    return Moments(*(torch.cat(parts) for parts in zip(*found, strict=True)))
