"""Diffusion with a linear schedule, and sampling in a few deterministic steps.

The network predicts the clean images (x0), not the noise and not the velocity. Three reasons: one that was not trained
says zero, and so changes nothing; one step alone is already the best guess of the mean; and from pure noise, where
sampling begins, a prediction of the noise would say nothing of the images.

The schedule is that of TSSC-Net (arXiv 2506.04116), but stretched so that it ends in pure noise. As published, 8 % of
the images are left at its end: a network in training reads large structures from them, and misses them when it samples.
Lin et al.: Common diffusion noise schedules and sample steps are flawed. WACV 2024 (arXiv 2305.08891).

Ho et al.: Denoising diffusion probabilistic models. NeurIPS 2020 (arXiv 2006.11239). Song et al.: Denoising diffusion
implicit models. ICLR 2021 (arXiv 2010.02502).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch

from STEnhanceLib.errors import STEnhanceError

LEVELS = 1000  # of noise; 0 is clean
FIRST_BETA, LAST_BETA = 1e-6, 1e-2


def noised(clean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(B, ...) images at a level of noise each.

    Args:
        clean: the images.
        noise: normally distributed, like the images.
        level: (B,) whole numbers, 0 for clean … `LEVELS`.
    """
    kept = _kept().to(level.device)[level].view(-1, *[1] * (clean.ndim - 1))
    return kept.sqrt().to(clean) * clean + (1 - kept).sqrt().to(clean) * noise


@torch.no_grad()
def sample(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    noise: torch.Tensor,
    steps: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """From noise to images; the same noise gives the same images.

    Args:
        predict: noisy images (B, ...) and their level (B,) → clean images.
        noise: (B, ...), normally distributed.
        steps: 1 … `LEVELS`; how often `predict` is called.
        on_step: told how many of how many steps are done.

    Raises:
        STEnhanceError: the number of steps is not one of those.
    """
    if not 1 <= steps <= LEVELS:
        raise STEnhanceError(f"{steps} diffusion steps were asked for; expected 1 to {LEVELS}.")
    kept = _kept().tolist()
    levels = torch.linspace(LEVELS, 0, steps + 1).round().long().tolist()
    x = noise
    for number, (now, after) in enumerate(itertools.pairwise(levels)):
        clean = predict(x, torch.full((len(x),), now, device=x.device)).to(x)
        if after == 0:
            x = clean
        else:
            remaining = (x - kept[now] ** 0.5 * clean) / (1 - kept[now]) ** 0.5
            x = kept[after] ** 0.5 * clean + (1 - kept[after]) ** 0.5 * remaining
        on_step(number + 1, steps)
    return x


@functools.cache
def _kept() -> torch.Tensor:
    """(LEVELS + 1,) the share of the images' variance that is left at each level, 1 … 0."""
    betas = torch.linspace(FIRST_BETA, LAST_BETA, LEVELS, dtype=torch.float64)
    amplitude = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0).sqrt()])
    return ((amplitude - amplitude[-1]) / (1 - amplitude[-1])).square()
