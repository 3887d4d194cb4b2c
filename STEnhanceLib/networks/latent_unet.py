"""The network of the joint space-time diffusion: predicts the latents of a sharp frame from shifted, noisy ones.

It sees the latents that the shift starts from, and, folded to the same positions, the three images that are its
conditions: the moment itself and the measured frames around it, moved to it. Dubey (arXiv 2410.23898) concatenates
three consecutive frames likewise. There is no attention as in the published U-Net, since images are aligned already;
blocks are weighted by what is known of the step, the moment and the measurement.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.networks.residual_shift import KAPPA, LEVELS, share
from STEnhanceLib.networks.vq_autoencoder import FOLD

IMAGES = 3  # the moment, and the frames before and after it
TOLD = 6  # level, noise, fraction of the way, nearness of measured frames, measured shares along J and I


class LatentUnet(nn.Module):
    """Predicts clean latents; before training, those that it starts from.

    Args:
        channels: of the latents.
        widths: features of each stage, at half the resolution of the one before.
        blocks: of each stage, on the way down and on the way up.
        told: numbers that stand for step, moment and measurement.
    """

    def __init__(self, *, channels: int = 12, widths: tuple[int, ...] = (64, 96, 128), blocks: int = 2, told: int = 64):
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)  # of which the sides of latents must be multiples
        self.told = nn.Sequential(nn.Linear(TOLD, told), nn.SiLU(), nn.Linear(told, told), nn.SiLU())
        self.head = nn.Conv2d(2 * channels + IMAGES * FOLD**2, widths[0], 3, padding=1)
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.inward = nn.ModuleList(nn.ModuleList(_Block(n, told) for _ in range(blocks)) for n in widths)
        self.outward = nn.ModuleList(nn.ModuleList(_Block(n, told) for _ in range(blocks)) for n in widths[:-1])
        self.tail = nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(  # noqa: PLR0917  (latents, then conditions)
        self,
        noisy: torch.Tensor,
        level: torch.Tensor,
        start: torch.Tensor,
        images: torch.Tensor,
        fraction: torch.Tensor,
        support: torch.Tensor,
    ) -> torch.Tensor:
        """The clean latents.

        Args:
            noisy: (B, C, j, i) on the way, sides multiples of `multiple`.
            level: (B,) of the residual shift.
            start: (B, C, j, i) latents of the moment itself, as the measurement tells it.
            images: (B, 3, 4 j, 4 i) on an intensity scale of about 1.
            fraction: (B,) of the way from the frame before to the one after; 0 for a measured one.
            support: (B, 2) measured share of k-space along J and I, each in (0, 1].

        Returns:
            (B, C, j, i) float32
        """
        eta = share(level, noisy)
        told = torch.stack([level / LEVELS, eta.flatten().sqrt(), fraction, 2 * torch.minimum(fraction, 1 - fraction)])
        told = self.told(torch.cat([told.T.to(support), support], dim=1))
        noisy = noisy / (1 + KAPPA**2 * eta).sqrt()
        x = self.head(torch.cat([noisy, start, functional.pixel_unshuffle(images, FOLD)], dim=1))
        skips = []
        for stage, blocks in enumerate(self.inward):
            if stage:
                skips.append(x)
                x = self.down[stage - 1](x)
            for block in blocks:
                x = block(x, told)
        for stage in reversed(range(len(self.outward))):
            x = self.up[stage](x) + skips.pop()
            for block in self.outward[stage]:
                x = block(x, told)
        return start + self.tail(x).float()


class _Block(nn.Module):
    """A residual block whose inner features are scaled and shifted by what is told."""

    def __init__(self, features: int, told: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))
        self.by = nn.Linear(told, 2 * features)
        nn.init.zeros_(self.by.weight)
        nn.init.zeros_(self.by.bias)

    def forward(self, x: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) and (B, told) → (B, C, h, w)."""
        scale, shift = self.by(told)[..., None, None].chunk(2, dim=1)
        return x + 0.25 * self.second(functional.leaky_relu(self.first(x) * (1 + scale) + shift, 0.1))
