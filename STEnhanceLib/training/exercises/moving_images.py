"""Whole cines to practise on: real ones, stills set in periodic motion, and phantoms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from STEnhanceLib.networks.alignment import warp_sharp
from STEnhanceLib.training.exercises.images import brightened, cut
from STEnhanceLib.training.motion import elastic, turned_and_zoomed
from STEnhanceLib.training.stock import Stock

CINE, STILL = 0.65, 0.2  # shares of the samples; the rest are phantoms
MOTION = 5.0  # pixels, of a still over a cycle
HARMONICS = 3


def cine(
    stock: Stock,
    rng: np.random.Generator,
    frames: int,
    shape_ji: tuple[int, int],
    turned: Callable[[torch.Tensor, np.random.Generator], torch.Tensor] = turned_and_zoomed,
) -> torch.Tensor:
    """(T, J, I) float32: so many successive moments of one slice.

    A cycle that is longer is cut, so that time does not close; a shorter one goes on with its second turn.

    Args:
        stock: what there is.
        rng: decides.
        frames: T.
        shape_ji: of the window.
        turned: puts the frames into another orientation and size, all alike.
    """
    kind = rng.random()
    if stock.stills and (kind < STILL or not stock.cines):
        still = torch.from_numpy(stock.stills[rng.integers(len(stock.stills))])
        phases = np.arange(frames) / frames
        images = in_periodic_motion(cut(still[None], _around(shape_ji), rng), rng, phases)[:, 0]
    else:
        several = stock.cines if stock.cines and (kind < STILL + CINE or not stock.phantoms) else stock.phantoms
        whole = several[rng.integers(len(several))]
        moments = (int(rng.integers(len(whole))) + np.arange(frames)) % len(whole)
        images = cut(torch.from_numpy(whole[moments, rng.integers(whole.shape[1])]), _around(shape_ji), rng)
    images = cut(turned(images, rng), shape_ji, rng)
    return brightened(images.flip(0) if rng.random() < 0.5 else images, rng)


def _around(shape_ji: tuple[int, int]) -> tuple[int, int]:
    """Enough around a window to turn it."""
    side = int(1.2 * max(shape_ji))
    return side, side


def in_periodic_motion(images: torch.Tensor, rng: np.random.Generator, phases: np.ndarray) -> torch.Tensor:
    """(T, K, J, I): (K, J, I) images together at T phases of a cycle, counted from a random one in turns.

    A few smooth displacements come and go with the harmonics of the cycle.
    """
    turn = 2 * np.pi * (phases + rng.random())
    curves = np.stack([np.sin(n * turn + rng.uniform(0, 2 * np.pi)) / n for n in range(1, HARMONICS + 1)])
    fields = elastic(rng, HARMONICS, images.shape[1:], MOTION)
    by = torch.einsum("nt,ncji->tcji", torch.from_numpy(curves.astype(np.float32)), fields)
    return warp_sharp(images.expand(len(phases), *images.shape), by)
