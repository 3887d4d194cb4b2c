"""What a motion network gets wrong on two frames, told without any frame between them.

After UVI-Net (Kim et al., CVPR 2024): both ends must look alike where they meet. And from two moments that the network
made of them, one before the first frame and one after it, it must be able to make the first frame, which is known. The
moment before is made of the first frame alone and the one after of the second alone: of blends, the first frame would
come back even where the motion is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

AWAY = (0.15, 0.6)  # fractions of the way, of a moment before the first frame and of one after it
ALIKE, CYCLE, SMOOTH, FOLD = 0.1, 1.0, 1.0, 1.0  # weights; that of the difference of both ends is 1
WINDOW = 9  # pixels of a local correlation
CONTRAST = 0.03  # of the intensity scale; below, structure counts as noise
LEAST_VOLUME = 0.1  # smaller ones are about to fold


class Mistakes(NamedTuple):
    """Both are numbers that gradients flow through.

    Attributes:
        total: what is to be made small.
        cycle: mean absolute error of the frame that was made again, on the intensity scale of the frames.
    """

    total: torch.Tensor
    cycle: torch.Tensor


def mistakes(network: torch.nn.Module, first: torch.Tensor, second: torch.Tensor, rng: np.random.Generator) -> Mistakes:
    """What the network makes of two ends, measured by the ends alone.

    Args:
        network: a `networks.flow.FlowNetwork`.
        first, second: (B, K, J, I) on an intensity scale of about 1.
        rng: decides about the two moments, and which end is made again.
    """
    if rng.random() < 0.5:  # the end that is made again is the first one from here on
        first, second = second, first
    before, after = rng.uniform(*AWAY, 2).tolist()
    there = network(first, second, (-before, after), refine=False)
    earlier, later = there.moved[0][0], there.moved[1][1]
    again = network(earlier, later, (before / (before + after),)).frames[0]
    cycle = _robust(again - first)
    one, other = there.moved[1]
    total = (
        _robust(one - other)
        + ALIKE * (1 - local_correlation(one, other))
        + CYCLE * cycle
        + SMOOTH * _roughness(there.velocity, there.spacing)
        + FOLD * (LEAST_VOLUME - there.volume).clamp(min=0).square().mean()
    )
    return Mistakes(total, cycle)


def local_correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Mean correlation of (B, K, J, I) images within small windows of slices; 0 where there is no structure."""

    def mean(values: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)

    x, y = mean(one), mean(other)
    xx, yy, xy = mean(one * one) - x * x, mean(other * other) - y * y, mean(one * other) - x * y
    noise = CONTRAST**2
    return (xy / ((xx.clamp(min=0) + noise) * (yy.clamp(min=0) + noise)).sqrt()).mean()


def _robust(difference: torch.Tensor) -> torch.Tensor:
    """Mean absolute value, rounded off below 1e-3."""
    return (difference.square() + 1e-6).sqrt().mean()


def _roughness(velocity: torch.Tensor, spacing: tuple[float, float, float]) -> torch.Tensor:
    """Mean squared gradient within slices, pixels per pixel."""
    axes = [axis for axis in (1, 2) if velocity.shape[2 + axis] > 1]
    return sum((velocity.diff(dim=2 + axis) / spacing[axis]).square().mean() for axis in axes)
