"""Where frames are joined along the paths of tissue, and where in place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

STILL, MOVING = 0.0, 0.2  # pixels: from here to there warping takes over; following half a pixel already pays
DOUBT = 0.2  # share of the blend in place where warping leaves more than EXPLAINED[1] of the squared difference
EXPLAINED = (0.0, 0.05)


def share_in_place(
    pixels: torch.Tensor, moved: Sequence[torch.Tensor], still: Sequence[torch.Tensor], noise: float
) -> torch.Tensor:
    """How much of the blend without motion goes in: all where nothing moves, some where warping explains little.

    Args:
        pixels: (K, J, I) how far tissue moves between two neighbours.
        moved, still: the two neighbours, (K, J, I) each, as motion brings them together, and as they are.
        noise: squared differences far below its square need no explanation.
    """
    left, all_of_it = (_local_mean(((a - b) / noise).square()) for a, b in (moved, still))
    low, high = EXPLAINED
    doubt = DOUBT * _smooth_step((left / (all_of_it + 1) - low) / (high - low))
    resting = 1 - _smooth_step((pixels - STILL) / (MOVING - STILL))
    return torch.maximum(doubt, resting)


def _local_mean(image: torch.Tensor) -> torch.Tensor:
    """Over 7 × 7 pixels of each slice."""
    for window in ((7, 1), (1, 7)):
        half = (window[0] // 2, window[1] // 2)
        image = functional.avg_pool2d(image[:, None], window, 1, half, count_include_pad=False)[:, 0]
    return image


def _smooth_step(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
