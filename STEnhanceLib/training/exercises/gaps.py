"""Two moments of a slice or of a volume, and what lies between them: from real cines, images in motion, and phantoms.

What is no cycle, such as a knee that bends, lies among `Stock.movements`; recipes add it, see `large_motion`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from STEnhanceLib.networks.intensity import brightness
from STEnhanceLib.training.exercises.images import brightened, cut
from STEnhanceLib.training.exercises.moving_images import in_periodic_motion
from STEnhanceLib.training.motion import turned_and_zoomed
from STEnhanceLib.training.stock import Stock

REAL, MOVED = 0.25, 0.15  # shares of the samples: real cines, and images set in motion; the rest are phantoms
FARTHEST = 0.5  # of a cycle between both ends; beyond that they look alike again and tell nothing
NEAREST = 0.03
EVENLY = 0.5  # share of the images in motion whose moments have equal distances
TUNED_FRAMES = 5  # of the tuning case, between both ends


class Gap(NamedTuple):
    """Both ends and the truth between, on the intensity scale of the ends."""

    ends: torch.Tensor  # (2, K, J, I)
    fractions: torch.Tensor  # (F,) of the way from the first to the last
    truth: torch.Tensor  # (F, K, J, I)


def gap(stock: Stock, rng: np.random.Generator, frames: int, slices: int, shape_ji: tuple[int, int]) -> Gap:
    """A gap anywhere in what there is, mirrored, turned, and forward or backward in time.

    Where a cine has too few frames in half a cycle, or a movement in all, one of its images is set in motion.

    Args:
        stock: what there is.
        rng: decides.
        frames: F, between the ends.
        slices: K, neighbouring ones; cines with fewer continue with their last slice.
        shape_ji: of the window.
    """
    kind = rng.random()
    painted = [*stock.phantoms, *stock.movements]
    several = stock.cines if stock.cines and (kind < REAL + MOVED or not painted) else painted
    number = int(rng.integers(len(several)))
    whole = several[number]
    cyclic = several is not painted or number < len(stock.phantoms)
    first = int(rng.integers(max(whole.shape[1] - slices, 0) + 1))
    which = np.minimum(np.arange(first, first + slices), whole.shape[1] - 1)
    side = int(1.2 * max(shape_ji))  # enough to turn it
    farthest = int(FARTHEST * len(whole)) if cyclic else len(whole) - 1
    if REAL <= kind < REAL + MOVED or farthest <= frames:
        image = torch.from_numpy(whole[rng.integers(len(whole)), which])
        if slices == 1 and stock.stills:
            image = torch.from_numpy(stock.stills[rng.integers(len(stock.stills))])[None]
        span, fractions = rng.uniform(NEAREST, FARTHEST), _fractions(rng, frames)
        phases = span * np.concatenate([[0], fractions, [1]])
        images = in_periodic_motion(cut(image, (side, side), rng), rng, phases)
    else:
        span = int(rng.integers(frames + 1, farthest + 1))
        inner = np.sort(rng.choice(np.arange(1, span), frames, replace=False))
        fractions = inner / span
        start = int(rng.integers(len(whole) if cyclic else len(whole) - span))
        moments = (start + np.concatenate([[0], inner, [span]])) % len(whole)
        images = cut(torch.from_numpy(whole[moments[:, None], which]), (side, side), rng)
    images = cut(turned_and_zoomed(images.flatten(0, 1), rng), shape_ji, rng).unflatten(0, (frames + 2, slices))
    images = brightened(images, rng)
    if rng.random() < 0.5:
        images, fractions = images.flip(0), 1 - fractions[::-1]
    images = images / brightness(images[[0, -1]])
    return Gap(images[[0, -1]], torch.from_numpy(fractions.astype(np.float32)), images[1:-1])


def tuning_gap(cine: np.ndarray) -> Gap:
    """From the first frame, near end-diastole, to one near end-systole, of the inner half."""
    rows, columns = (slice(n // 4, n - n // 4) for n in cine.shape[-2:])
    images = torch.from_numpy(cine[: TUNED_FRAMES + 2, :, rows, columns].copy())
    images = images / brightness(images[[0, -1]])
    return Gap(images[[0, -1]], torch.arange(1, TUNED_FRAMES + 1) / (TUNED_FRAMES + 1), images[1:-1])


def _fractions(rng: np.random.Generator, frames: int) -> np.ndarray:
    even = np.arange(1, frames + 1) / (frames + 1)
    return even if rng.random() < EVENLY else np.sort(rng.uniform(0.02, 0.98, frames))
