"""Diffusion that shifts what is between two images: from the truth to a blurred one with noise, and back in few steps.

The chain ends near the blurred image instead of in pure noise, so that a dozen steps do. The network predicts the truth
(x0) at every step; one step alone is its best guess of the mean.

Yue, Wang, Loy: ResShift: Efficient diffusion model for image super-resolution by residual shifting. NeurIPS 2023
(arXiv 2307.12348), with the schedule of Dubey: Joint spatio-temporal super-resolution with latent diffusion. 2024
(arXiv 2410.23898).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch

from STEnhanceLib.errors import STEnhanceError

LEVELS = 15  # 0 is the truth
KAPPA = 2.0  # noise, on the scale of the images, where all of the shift is done
FIRST, LAST = 0.02**2, 0.99  # shares of the shift
POWER = 0.3


@functools.cache
def shares() -> torch.Tensor:
    """(LEVELS + 1,) how much of the shift is done at each level, 0 … 0.99; the square root grows exponentially."""
    t = torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)
    roots = FIRST**0.5 * ((LAST / FIRST) ** 0.5) ** (t**POWER)
    return torch.cat([torch.zeros(1, dtype=torch.float64), roots.square()]).float()


def share(level: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) levels → (B, 1, …), to be multiplied with (B, …)."""
    return shares().to(level.device)[level].view(-1, *[1] * (like.ndim - 1))


def shifted(clean: torch.Tensor, start: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(B, …) images on the way from `clean` to `start`, at a level (B,) each."""
    eta = share(level, clean)
    return clean + eta * (start - clean) + KAPPA * eta.sqrt() * noise


@torch.no_grad()
def sample(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    start: torch.Tensor,
    noise: torch.Tensor,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """From blurred images to sharp ones; the same noise gives the same ones.

    Args:
        predict: images on the way (B, …) and their level (B,) → sharp images.
        start: (B, …), the blurred ones.
        noise: (steps, B, …), normally distributed; 1 … `LEVELS` steps.
        on_step: told how many of how many steps are done.

    Raises:
        STEnhanceError: the number of steps is not one of those.
    """
    if not 1 <= len(noise) <= LEVELS:
        raise STEnhanceError(f"{len(noise)} steps of the residual shift were asked for; expected 1 to {LEVELS}.")
    levels = torch.linspace(LEVELS, 0, len(noise) + 1).round().long().tolist()
    done = shares().tolist()
    x = start + KAPPA * done[LEVELS] ** 0.5 * noise[0]
    for number, (now, after) in enumerate(itertools.pairwise(levels)):
        clean = predict(x, torch.full((len(x),), now, device=x.device)).to(x)
        left = done[after] / done[now]
        x = clean + left * (x - clean)
        if after > 0:
            x = x + KAPPA * (left * (done[now] - done[after])) ** 0.5 * noise[number + 1]
        on_step(number + 1, len(noise))
    return x
