"""A vector-quantised autoencoder for MR images: a sixteenth of the positions, a dozen numbers from codebooks at each.

Van den Oord et al.: Neural discrete representation learning. NeurIPS 2017 (arXiv 1711.00937), with codebooks that
follow the numbers they stand for instead of gradients. Each number of the latent image belongs to a small group with a
codebook of its own, and what a code leaves over is coded again (Lee et al.: Autoregressive image generation using
residual quantization. CVPR 2022, arXiv 2203.01941): with the one code per position of the published latent diffusion
(VQGAN, Esser et al., CVPR 2021, arXiv 2012.09841), images come back plausible but not the same.

Everything is computed on folded images (pixel unshuffle), at a sixteenth of the pixels, which one core can train.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.networks.padding import padded

FOLD = 4  # pixels per side of a latent position
FOLLOW = 0.05  # of the way that codes go to what a batch shows: they must keep up with training
DEAD = 0.05  # codes used less than so often as the mean one start anew


class Coded(NamedTuple):
    """What training compares.

    Attributes:
        images: as they come back, (B, 1, J, I).
        commitment: mean squared distance of the latents from their codes.
    """

    images: torch.Tensor
    commitment: torch.Tensor


class VqAutoencoder(nn.Module):
    """Images on an intensity scale of about 1 to latents of mean 0 and size 1, and back.

    Args:
        channels: numbers per latent position, a multiple of `group`.
        features, blocks: width and depth on either side.
        group: numbers that are coded together.
        stages: how often what is left over is coded again, the first time included.
        codes: of each codebook.
    """

    def __init__(
        self, *, channels: int = 12, features: int = 64, blocks: int = 3, group: int = 2, stages: int = 2,
        codes: int = 256,
    ):  # fmt: skip
        super().__init__()
        self.channels = channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(FOLD),
            nn.Conv2d(FOLD**2, features, 3, padding=1),
            *(_Block(features) for _ in range(blocks)),
            nn.Conv2d(features, channels, 3, padding=1),
        )
        self.quantiser = Quantiser(channels, group, stages, codes)
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, features, 3, padding=1),
            *(_Block(features) for _ in range(blocks)),
            nn.Conv2d(features, FOLD**2, 3, padding=1),
            nn.PixelShuffle(FOLD),
        )
        # What latents were like in all of training so far: dividing by those of the batch at hand would lose how bright
        # an image is, and what follows the latest ones does not fit averaged weights.
        self.register_buffer("middle", torch.zeros(channels, 1, 1))
        self.register_buffer("size", torch.ones(channels, 1, 1))
        self.register_buffer("seen", torch.zeros(()))  # batches

    def forward(self, images: torch.Tensor) -> Coded:
        """(B, 1, J, I), there and back."""
        rows, columns = images.shape[-2:]
        latents = self.encode(images)
        codes = self.rounded(latents)
        commitment = (latents - codes.detach()).square().mean()
        return Coded(self.decode(codes)[..., :rows, :columns], commitment)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 1, J, I) → (B, channels, ⌈J / 4⌉, ⌈I / 4⌉) float32, not yet rounded to codes."""
        latents = self.encoder(padded(images, FOLD)).float()
        if self.training:
            size, middle = torch.std_mean(latents, dim=(0, 2, 3), keepdim=True)
            self.seen += 1
            self.middle.lerp_(middle[0].detach(), 1 / float(self.seen))
            self.size.lerp_(size[0].detach(), 1 / float(self.seen))
            # 1, but with gradients: else smaller and smaller latents would come nearer and nearer to their codes.
            latents = self.middle + (latents - self.middle) * (size.detach() / size)
        return (latents - self.middle) / self.size

    def rounded(self, latents: torch.Tensor) -> torch.Tensor:
        """The codes nearest to latents; gradients pass as if nothing had been rounded."""
        return latents + (self.quantiser(latents) - latents).detach()

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, channels, j, i) → (B, 1, 4 j, 4 i) float32."""
        return self.decoder(codes).float()


class Quantiser(nn.Module):
    """Rounds each group of numbers to the nearest code of its codebook, then the rest to one of the next codebook.

    Args:
        channels, group, stages, codes: see `VqAutoencoder`.

    Raises:
        ValueError: channels that do not make whole groups.
    """

    def __init__(self, channels: int, group: int, stages: int, codes: int):
        super().__init__()
        if channels % group:
            raise ValueError(f"{channels} channels do not make groups of {group}")
        self.group = group
        self.register_buffer("codes", torch.randn(stages, channels // group, codes, group))
        self.register_buffer("uses", torch.zeros(stages, channels // group, codes))  # per batch, lately

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, channels, j, i) float32 to the same, made of codes; in training, the codes follow the latents."""
        vectors = latents.detach().unflatten(1, (-1, self.group)).movedim(2, -1).transpose(0, 1)
        shape, vectors = vectors.shape, vectors.flatten(1, -2)  # (groups, N, group)
        with torch.autocast(latents.device.type, enabled=False), torch.no_grad():
            groups = [self._rounded(number, own) for number, own in enumerate(vectors)]
        return torch.stack(groups).view(shape).transpose(0, 1).movedim(-1, 2).flatten(1, 2)

    def _rounded(self, group: int, vectors: torch.Tensor) -> torch.Tensor:
        """(N, group) to the same."""
        total = torch.zeros_like(vectors)
        for stage in range(len(self.codes)):
            left = vectors - total
            codes = self.codes[stage, group]
            if self.training and not self.uses[stage, group].any():
                codes.copy_(_some(left, len(codes)))
            nearest = torch.addmm(codes.square().sum(1) / 2, left, codes.T, alpha=-1).argmin(1)
            total = total + codes[nearest]
            if self.training:
                self._follow(codes, self.uses[stage, group], left, nearest)
        return total

    def _follow(self, codes: torch.Tensor, uses: torch.Tensor, vectors: torch.Tensor, nearest: torch.Tensor) -> None:
        """Each code moves towards the mean of what it stood for; those that stand for nothing go where something is."""
        now = torch.zeros_like(uses).index_add_(0, nearest, torch.ones_like(vectors[:, 0]))
        sums = torch.zeros_like(codes).index_add_(0, nearest, vectors)
        if not uses.any():
            uses.copy_(now)
        uses.lerp_(now, FOLLOW)
        codes.add_(FOLLOW * (sums - now[:, None] * codes) / uses.clamp_min(1e-6)[:, None])
        dead = uses < DEAD * uses.mean()
        if dead.any():
            codes[dead] = _some(vectors, len(codes))[dead]
            uses[dead] = uses.mean()


def _some(vectors: torch.Tensor, count: int) -> torch.Tensor:
    """So many of the vectors, evenly picked, so that training needs no chance of its own."""
    return vectors[torch.linspace(0, len(vectors) - 1, count, device=vectors.device).long()]


class _Block(nn.Module):
    def __init__(self, features: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.25 * self.second(functional.leaky_relu(self.first(x), 0.1))
