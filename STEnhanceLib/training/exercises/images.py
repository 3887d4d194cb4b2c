"""Where the image exercises take their pictures from: real cines, stills set in motion, and phantoms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from STEnhanceLib.networks.alignment import warp_sharp
from STEnhanceLib.training.motion import elastic, turned_and_zoomed
from STEnhanceLib.training.stock import Stock

CINE, STILL = 0.35, 0.6  # shares of the samples; the rest are phantoms
CARDIAC_MOTION, PLANNING_MOTION = 3.0, 6.0  # pixels: between neighbouring frames, and since the planning scan


def moments(stock: Stock, rng: np.random.Generator, side: int | None = None) -> torch.Tensor:
    """(4, J, I): a frame t, its neighbours t-1 and t+1, and the same anatomy at any other moment.

    Args:
        stock: what there is.
        rng: decides.
        side: at most so many rows and columns, at a random place; by default the whole image.
    """
    kind = rng.random()
    if stock.stills and (kind < STILL or not stock.cines):
        image = torch.from_numpy(stock.stills[rng.integers(len(stock.stills))])
        images = _set_in_motion(_part(image, side, rng), rng)
    else:
        several = stock.cines if stock.cines and kind < STILL + CINE else stock.phantoms
        images = _part(_of_cine(several[rng.integers(len(several))], rng), side, rng)
    return turned_and_zoomed(images, rng)


def _part(images: torch.Tensor, side: int | None, rng: np.random.Generator) -> torch.Tensor:
    return images if side is None else cut(images, tuple(min(side, n) for n in images.shape[-2:]), rng)


def _set_in_motion(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    shape = image.shape
    by = torch.cat([elastic(rng, 2, shape, CARDIAC_MOTION), elastic(rng, 1, shape, PLANNING_MOTION)])
    moved = warp_sharp(image.expand(3, 1, *shape), by)
    return torch.cat([image[None], moved[:, 0]])


def _of_cine(cine: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    count, slices = cine.shape[:2]
    t, k = int(rng.integers(count)), int(rng.integers(slices))
    other = 0 if rng.random() < 0.5 else int(rng.integers(count))
    return torch.from_numpy(cine[[t, t - 1, (t + 1) % count, other], k])


def cut(images: torch.Tensor, shape_ji: tuple[int, int], rng: np.random.Generator) -> torch.Tensor:
    """A window of (C, J, I) images at a random place; images smaller than the window continue with their edges."""
    missing = [max(m - n, 0) for n, m in zip(images.shape[-2:], shape_ji, strict=True)]
    if any(missing):
        images = functional.pad(images, (0, missing[1], 0, missing[0]), mode="replicate")
    first = [int(rng.integers(max(n - m, 0) + 1)) for n, m in zip(images.shape[-2:], shape_ji, strict=True)]
    return images[..., first[0] : first[0] + shape_ji[0], first[1] : first[1] + shape_ji[1]]


def brightened(images: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Another contrast and another scale, as another sequence or coil would give."""
    return images.clamp_min(0) ** float(rng.uniform(0.8, 1.25)) * float(rng.uniform(0.7, 1.2))


def mean_scores(scores: Callable[[torch.Tensor], torch.Tensor], frames: torch.Tensor) -> float:
    """The mean of a score over frames, each scored alone as the benchmark does."""
    return float(torch.stack([scores(frame) for frame in frames]).mean())
