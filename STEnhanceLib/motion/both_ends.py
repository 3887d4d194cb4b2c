"""A moment as the frames around it tell it, each by itself: what a network needs that is to judge between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from STEnhanceLib.motion import course, fields, spline
from STEnhanceLib.motion.course import Place
from STEnhanceLib.motion.trajectories import MovingFrames


@torch.no_grad()
def around(moving: MovingFrames, path: Sequence[Place], time_ms: float) -> np.ndarray:
    """The moment itself, and the frames before and after it, moved to where tissue is then.

    The moment itself is the measured frame where there is one, else both ends joined. Where a measured frame lacks a
    neighbour, it stands in for it.

    Args:
        moving: the frames.
        path: as for `MovingFrames.at`, of which one may be at the very moment.
        time_ms: when.

    Returns:
        (3, K, J, I) float32.
    """
    moving.register(moving.pairs(path))
    here = next((n for n, place in enumerate(path) if place.time_ms == time_ms), None)
    if here is not None:
        itself, neighbours = path[here].frame, [path[n].frame for n in (here - 1, here + 1) if 0 <= n < len(path)]
        ends = [_fetched(moving, frame, moving.way(itself, frame)) for frame in neighbours]
        ends += [moving.frames[itself]] * (2 - len(ends))
        return np.stack([moving.frames[itself], *(ends if here else reversed(ends))])
    n = course.before(path, time_ms)
    first, last = path[n].frame, path[n + 1].frame
    whole = moving.way(first, last)
    back = _turned(float(course.even(path, time_ms)[n + 1]) * whole, moving.control_spacing())
    ends = _fetched(moving, first, back), _fetched(moving, last, fields.composed(whole, back, moving.control_spacing()))
    return np.stack([moving.at(path, time_ms).voxels, *ends])


def _turned(way: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """The displacement back from where a displacement leads."""
    back = -way
    for _ in range(fields.INVERSION_STEPS):
        back = -fields.linearly_sampled(way, back, spacing_mm)
    return back


def _fetched(moving: MovingFrames, frame: int, way: torch.Tensor) -> np.ndarray:
    image = torch.from_numpy(moving.frames[frame].copy()).to(way.device)
    image = spline.coefficients(image[None, None], moving.in_plane)
    return spline.sampled(image, moving.fine(way), moving.spacing_mm)[0, 0].cpu().numpy()
