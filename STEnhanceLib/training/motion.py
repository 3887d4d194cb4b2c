"""Random smooth motion, for making neighbouring moments out of still images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib.networks.alignment import warp_sharp


def elastic(rng: np.random.Generator, count: int, shape_ji: tuple[int, int], largest: float) -> torch.Tensor:
    """(count, 2, J, I) displacements in pixels, smooth over a third to an eighth of the image, at most `largest`."""
    knots = int(rng.integers(4, 9))
    coarse = torch.from_numpy(rng.uniform(-1, 1, (count, 2, knots, knots)).astype(np.float32))
    strength = torch.from_numpy(rng.uniform(0, largest, (count, 1, 1, 1)).astype(np.float32))
    return strength * functional.interpolate(coarse, shape_ji, mode="bicubic", align_corners=True).clamp(-1, 1)


def turned_and_zoomed(
    images: torch.Tensor,
    rng: np.random.Generator,
    *,
    share: float = 0.3,
    zoom: tuple[float, float] = (0.75, 1.2),
) -> torch.Tensor:
    """(C, J, I) images together mirrored, turned by quarters, and now and then by any angle and zoomed.

    Args:
        images: of one anatomy.
        rng: decides.
        share: of the calls that turn by any angle and zoom.
        zoom: least and largest.
    """
    if rng.random() < 0.5:
        images = images.flip(-1)
    images = torch.rot90(images, int(rng.integers(4)), (-2, -1))
    if rng.random() > share:
        return images.contiguous()
    angle, scale = rng.uniform(-np.pi / 6, np.pi / 6), rng.uniform(*zoom)
    rows, columns = images.shape[-2:]
    j = torch.arange(rows, dtype=torch.float32).view(-1, 1) - (rows - 1) / 2
    i = torch.arange(columns, dtype=torch.float32).view(1, -1) - (columns - 1) / 2
    cos, sin = float(np.cos(angle) / scale), float(np.sin(angle) / scale)
    by = torch.stack([cos * j - sin * i - j, sin * j + cos * i - i])[None]
    return warp_sharp(images[None], by)[0]
