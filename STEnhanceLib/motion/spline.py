"""Cubic B-spline interpolation of images at displaced voxels; linear interpolation would blur more than blending does.

Unser: Splines: a perfect fit for signal and image processing. IEEE Signal Process Mag 1999; 16:22-38. The 4 taps along
an axis are read as 2 linear interpolations, after Sigg and Hadwiger: Fast third-order texture filtering. GPU Gems 2,
2005.
"""

from __future__ import annotations

import functools
import itertools

import torch
from torch.nn import functional


def coefficients(images: torch.Tensor, in_plane: bool) -> torch.Tensor:
    """B-spline coefficients of (..., K, J, I) along j and i, and along k unless `in_plane`; mirrored at the edges."""
    for axis in (-1, -2) if in_plane else (-1, -2, -3):
        inverse = _inverse(images.shape[axis]).to(images)
        images = (images.transpose(axis, -1) @ inverse.T).transpose(axis, -1)
    return images


def sampled(splines: torch.Tensor, displacement: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """Images, given as `coefficients`, fetched from displaced voxels; the edge is repeated beyond the field of view.

    Args:
        splines: (B, C, K, J, I).
        displacement: (B, D, K, J, I) in mm, D = 2 within slices.
        spacing_mm: along (k, j, i).
    """
    batch, channels, slices, rows, columns = splines.shape
    if displacement.shape[1] == 2:
        splines = splines.transpose(1, 2).reshape(batch * slices, channels, rows, columns)
        displacement = displacement.transpose(1, 2).reshape(batch * slices, 2, rows, columns)
    pairs = [_taps(displacement, axis, spacing_mm) for axis in range(displacement.shape[1])]
    total = None
    for choice in itertools.product((0, 1), repeat=len(pairs)):
        where = torch.stack([pairs[axis][0][side] for axis, side in reversed(list(enumerate(choice)))], dim=1)
        where = where.movedim(1, -1)
        weight = functools.reduce(torch.mul, [pairs[axis][1][side] for axis, side in enumerate(choice)])
        part = functional.grid_sample(splines, where, padding_mode="reflection", align_corners=True) * weight[:, None]
        total = part if total is None else total.add_(part)
    if len(pairs) == 2:
        total = total.view(batch, slices, channels, rows, columns).transpose(1, 2)
    return total


def _taps(displacement: torch.Tensor, axis: int, spacing_mm) -> tuple[tuple, tuple]:
    """Two positions, −1 … 1 from the first voxel to the last, and their weights along one axis."""
    parts = displacement.shape[1]
    size = displacement.shape[2 + axis]
    index = torch.arange(size, dtype=displacement.dtype, device=displacement.device)
    index = index.view([-1 if other == axis else 1 for other in range(parts)])
    at = (index + displacement[:, axis] / spacing_mm[axis - parts]).clamp_(0, size - 1)
    whole = at.floor()
    f = at - whole
    w3 = f**3 / 6
    w0 = (1 - f) ** 3 / 6
    w1 = 2 / 3 - f**2 + f**3 / 2
    w2 = 1 - w0 - w1 - w3
    low, high = w0 + w1, w2 + w3
    scale = 2 / max(size - 1, 1)
    return ((whole - 1 + w1 / low) * scale - 1, (whole + 1 + w3 / high) * scale - 1), (low, high)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # it is kept, and gradients may flow through it later
def _inverse(size: int) -> torch.Tensor:
    """From samples to coefficients, (size, size) float32."""
    matrix = torch.eye(size, dtype=torch.float64) * 4
    if size > 1:
        rows = torch.arange(size)
        for side in (-1, 1):
            other = rows + side
            other = torch.where(other < 0, -other, other)
            other = torch.where(other > size - 1, 2 * (size - 1) - other, other)
            matrix.index_put_((rows, other), torch.ones(size, dtype=torch.float64), accumulate=True)
    else:
        matrix += 2
    return torch.linalg.inv(matrix / 6).float()
