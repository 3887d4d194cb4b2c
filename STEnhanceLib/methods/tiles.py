"""Images too large for a network in one go: computed in tiles that overlap so far that the result has no seams.

A tile reaches beyond what is kept of it by at least the distance that an output looks around, and it starts where the
network's folding or pooling of neighbours would start; so every kept output is the one of the whole image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LARGEST = 2**20  # outputs at once, for which the published networks take 1 to 2 GB and ours less


def chunks(count: int, each: int, largest: int = LARGEST) -> Iterator[slice]:
    """The samples of a batch, of `each` outputs, in turns of at most `largest` outputs or one sample."""
    step = max(1, largest // each)
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def in_tiles(
    apply: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    radius: int,
    *,
    multiple: int = 1,
    scale: int = 1,
    largest: int = LARGEST,
) -> torch.Tensor:
    """What `apply` makes of the images, whole if that is at most `largest` outputs, else tile by tile.

    Args:
        apply: (B, C, *size) → (B, c, *(scale · size)), for any size.
        images: (B, C, *space), with any number of axes in space.
        radius: how far, in voxels of `images`, an output looks around.
        multiple: tiles start at multiples of this; what `apply` folds or pools.
        scale: outputs per voxel and axis.
        largest: outputs of a tile, its overlap included; exceeded where the overlap alone is larger.

    Returns:
        (B, c, *(scale · space))
    """
    space = images.shape[2:]
    halo = -(-radius // multiple) * multiple
    kept = _kept(space, halo, multiple, largest // (len(images) * scale ** len(space)))
    if all(size >= whole for size, whole in zip(kept, space, strict=True)):
        return apply(images)
    result = None
    for first in itertools.product(*(range(0, n, size) for n, size in zip(space, kept, strict=True))):
        inner, outer, within = [], [], []
        for start, size, whole in zip(first, kept, space, strict=True):
            stop, left = min(start + size, whole), max(start - halo, 0)
            outer.append(slice(left, min(start + size + halo, whole)))
            within.append(slice((start - left) * scale, (stop - left) * scale))
            inner.append(slice(start * scale, stop * scale))
        tile = apply(images[(..., *outer)])
        if result is None:
            result = tile.new_empty(*tile.shape[:2], *(n * scale for n in space))
        result[(..., *inner)] = tile[(..., *within)]
    return result


def _kept(space: tuple[int, ...], halo: int, multiple: int, largest: int) -> tuple[int, ...]:
    """How much of a tile is kept along each axis, so that it has at most `largest` voxels with its halo."""
    parts = [1] * len(space)
    while True:
        kept = tuple(-(-math.ceil(n / count) // multiple) * multiple for n, count in zip(space, parts, strict=True))
        size = [min(k + 2 * halo, n) if k < n else n for k, n in zip(kept, space, strict=True)]
        if math.prod(size) <= largest:
            return kept
        # An axis is worth cutting as long as its tiles keep at least as much as half of their overlap.
        worth = [a for a, k in enumerate(kept) if k > max(halo // 2, multiple) and space[a] > 3 * halo]
        if not worth:
            return kept
        parts[max(worth, key=lambda a: size[a])] += 1
