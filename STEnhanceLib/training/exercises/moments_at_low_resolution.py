"""Moments of a cine scanned with few pixels and few frames, as registration brings them back, and the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.acquisition.centre_crop_torch import resample
from STEnhanceLib.motion import STIFFNESS
from STEnhanceLib.motion.both_ends import around
from STEnhanceLib.motion.course import Place
from STEnhanceLib.motion.trajectories import MovingFrames
from STEnhanceLib.networks.intensity import brightness
from STEnhanceLib.training.degradation import degraded, small_matrix
from STEnhanceLib.training.exercises.moving_images import cine
from STEnhanceLib.training.stock import Stock

FRAMES = 20  # of a cycle
SPANS = (1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10)  # frames from one kept frame to the next
BETWEEN = 2  # moments that nothing was measured at, beside a measured one
STILL, SHARP = 0.35, 0.15  # shares of the cycles: of stills in motion, and scanned with all pixels
PIXEL_MM = 1.3


class Moments(NamedTuple):
    """Single images of a moment each.

    Attributes:
        images: (N, 3, J, I), see `motion.both_ends.around`, zero-filled.
        truth: (N, 1, J, I) on their intensity scale of about 1.
        fraction: (N,) of the way from the frame before to the one after; 0 for a measured one.
        support: (N, 2) measured share of k-space along J and I.
    """

    images: torch.Tensor
    truth: torch.Tensor
    fraction: torch.Tensor
    support: torch.Tensor


def practised(stock: Stock, rng: np.random.Generator, side: int) -> Moments:
    """A measured moment and those between it and the next, of one slice that is anywhere in what there is.

    Args:
        stock: what there is.
        rng: decides.
        side: of the window.
    """
    if stock.stills and rng.random() < STILL:
        stock = replace(stock, cines=(), phantoms=())
    truth = cine(stock, rng, FRAMES, (side, side))
    small = (side, side) if rng.random() < SHARP else small_matrix(rng, (side, side))
    span = int(rng.choice(SPANS))
    low = degraded(truth[::span], small, rng).images
    scale = brightness(low)
    gap = int(rng.integers(len(low) - 1))
    between = gap * span + np.sort(rng.permutation(np.arange(1, span))[:BETWEEN])
    return moments(truth / scale, low / scale, span, [gap * span, *between.tolist()], PIXEL_MM)


def moments(truth: torch.Tensor, low: torch.Tensor, span: int, wanted: list[int], pixel_mm: float) -> Moments:
    """What registration makes of a slice of which every `span`-th frame was kept.

    Args:
        truth: (T, J, I).
        low: (⌈T / span⌉, j, i) frames 0, span, 2 span, … with fewer pixels.
        span: frames from one to the next.
        wanted: frames of `truth`, between the first and the last kept one.
        pixel_mm: of `truth`.
    """
    zero_filled = resample(low, truth.shape[-2:]).numpy()[:, None]
    moving = MovingFrames(zero_filled, (pixel_mm, pixel_mm, 8.0), STIFFNESS, "cpu")
    paths = [_path(len(low), span, frame) for frame in wanted]
    moving.plan(paths)
    images = [around(moving, path, float(frame))[:, 0] for path, frame in zip(paths, wanted, strict=True)]
    support = [small / large for small, large in zip(low.shape[-2:], truth.shape[-2:], strict=True)]
    return Moments(
        torch.from_numpy(np.stack(images)),
        truth[wanted, None],
        torch.tensor([frame % span / span for frame in wanted]),
        torch.tensor([support] * len(wanted)),
    )


def _path(count: int, span: int, frame: int) -> list[Place]:
    before = frame // span
    first, stop = (before - 1, before + 2) if frame % span == 0 else (before - 1, before + 3)
    return [Place(n, float(n * span)) for n in range(max(first, 0), min(stop, count))]
