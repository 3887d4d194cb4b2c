"""Where the volume exercises take their cines from: real stacks, stacks set in motion, and phantoms."""

from __future__ import annotations

import numpy as np
import torch

from STEnhanceLib.networks.alignment import warp_sharp
from STEnhanceLib.training.exercises.images import brightened
from STEnhanceLib.training.motion import elastic
from STEnhanceLib.training.stock import Stock

REAL, STATIC = 0.6, 0.25  # shares of the samples: real cines, and static stacks in random motion; the rest are phantoms
SLICES = 12  # not fewer: oneDNN gets half-precision gradients wrong where the coarsest level has but two slices
MOTION = 4.0  # pixels between two moments of a static stack


def consecutive(stock: Stock, rng: np.random.Generator, count: int) -> torch.Tensor:
    """(count, K, J, I) consecutive moments of at most 12 neighbouring slices, mirrored and turned at random."""
    kind = rng.random()
    cines = stock.cines if stock.cines and kind < REAL + STATIC else stock.phantoms
    cine = cines[rng.integers(len(cines))]
    first = int(rng.integers(max(cine.shape[1] - SLICES, 0) + 1))
    start = int(rng.integers(len(cine)))
    moments = (np.arange(count) + start) % len(cine)
    if REAL <= kind < REAL + STATIC:
        volumes = _set_in_motion(torch.from_numpy(cine[start, first : first + SLICES]), rng, count)
    else:
        volumes = torch.from_numpy(cine[moments, first : first + SLICES])
    for axis in (-1, -2, -3):
        if rng.random() < 0.5:
            volumes = volumes.flip(axis)
    return brightened(torch.rot90(volumes, int(rng.integers(4)), (-2, -1)), rng)


def _set_in_motion(volume: torch.Tensor, rng: np.random.Generator, count: int) -> torch.Tensor:
    """A random elastic swing, the same in all slices: the way there and part of the way back."""
    swing = elastic(rng, 1, volume.shape[-2:], MOTION)
    phases = np.sin(rng.uniform(0, np.pi) + np.arange(count))
    return torch.stack([warp_sharp(volume[None], swing * float(phase))[0] for phase in phases])
