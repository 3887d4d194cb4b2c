"""EDSR: enhanced deep residual network for single-image super-resolution.

Lim et al.: Enhanced deep residual networks for single image super-resolution. CVPR Workshops 2017 (arXiv 1707.02921);
for the MRI-Linac: Grover et al., Commun Med 2024 (s43856-024-00489-9).
"""

from __future__ import annotations

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input with a small weight; no normalisation."""

    def __init__(self, features: int, scaling: float):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        self.scaling = scaling

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) → (B, C, h, w)."""
        return x + self.scaling * self.second(torch.relu(self.first(x)))


class Edsr(nn.Module):
    """The canonical form: head, residual blocks with a long skip, one pixel shuffle per doubling, last convolution.

    Input sample n lies at output index n · scale, as after a k-space centre crop. r16f64 with scale 4 has 1.52 M
    parameters and costs 16 GFLOP for 64×64 → 256×256.

    Args:
        scale: 2 or 4.
        blocks, features: 16 and 64 in the small published form, 32 and 256 in the large one.
        residual_scaling: weight of every residual branch.
    """

    def __init__(self, scale: int = 4, blocks: int = 16, features: int = 64, residual_scaling: float = 1.0):
        super().__init__()
        if scale not in (2, 4):
            raise ValueError(f"scale {scale} was given; expected 2 or 4")
        self.scale = scale
        self.radius = 2 * blocks + 5  # how far, in input pixels, an output looks around
        self.head = nn.Conv2d(1, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(features, residual_scaling) for _ in range(blocks)))
        self.body_end = nn.Conv2d(features, features, 3, padding=1)
        doublings = {2: 1, 4: 2}[scale]
        self.tails = nn.ModuleList(nn.Conv2d(features, 4 * features, 3, padding=1) for _ in range(doublings))
        self.last = nn.Conv2d(features, 1, 3, padding=1)
        self._start_as_interpolation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, h, w) → (B, 1, scale · h, scale · w)."""
        x = self.head(x)
        x = x + self.body_end(self.body(x))
        for tail in self.tails:
            x = nn.functional.pixel_shuffle(tail(x), 2)
        return self.last(x)

    @torch.no_grad()
    def _start_as_interpolation(self) -> None:
        """Let feature 0 carry the image through linear interpolation, so that training starts from a picture.

        From random weights the network spends its first thousands of steps on finding the image again.
        """
        for layer in (self.head, self.body_end, self.last, *self.tails):
            layer.bias.zero_()
        self.body_end.weight.mul_(0.1)
        self.body_end.weight[0].zero_()
        self.head.weight[0].zero_()
        self.head.weight[0, 0, 1, 1] = 1
        for tail in self.tails:
            tail.weight[:4].mul_(0.1)
            for phase in range(4):
                down, right = divmod(phase, 2)
                for dy in range(1 + down):
                    for dx in range(1 + right):
                        tail.weight[phase, 0, 1 + dy, 1 + dx] += 1 / ((1 + down) * (1 + right))
        self.last.weight.mul_(0.1)
        self.last.weight[0, 0, 1, 1] = 1
