"""Velocity and displacement fields on coarse control grids, and images sampled through them.

A field is (B, D, K, J, I) in mm along (k, j, i) for D = 3, or along (j, i) within every slice for D = 2. Grids are
related like those of `interpolate(..., align_corners=False)`: a control point lies at the centre of the block of voxels
that it stands for.
"""

from __future__ import annotations

import itertools

import torch
from torch.nn import functional

SQUARINGS = 4  # a velocity of up to 8 control spacings is then at most half a spacing per step

INVERSION_STEPS = 5  # each at least halves the error where the motion changes by less than one pixel per pixel


def exponential(velocity: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """The displacement after unit time along a stationary velocity, by scaling and squaring.

    Args:
        velocity: a field.
        spacing_mm: of its grid along (k, j, i).
    """
    displacement = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        displacement = composed(displacement, displacement, spacing_mm)
    return displacement


def composed(outer: torch.Tensor, inner: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """The displacement that goes along `inner` first and along `outer` from where that leads."""
    return inner + linearly_sampled(outer, inner, spacing_mm)


def straight(
    velocity: torch.Tensor, fraction: float, spacing_mm: tuple[float, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The displacements from where tissue is at a fraction of the way to where it came from and to where it goes.

    It is taken to go evenly along a straight line from one end of the velocity's path to the other.
    """
    back, forth = exponential(-velocity / 2, spacing_mm), exponential(velocity / 2, spacing_mm)
    here = back + fraction * (forth - back)  # from the middle of the velocity's path, for each piece of tissue
    aside = here
    for _ in range(INVERSION_STEPS):
        aside = linearly_sampled(here, -aside, spacing_mm)
    return tuple(linearly_sampled(end, -aside, spacing_mm) - aside for end in (back, forth))


def linearly_sampled(images: torch.Tensor, displacement: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """Images (B, C, K, J, I) fetched from displaced voxels on the same grid; the edge is repeated beyond it."""
    batch, channels, slices, rows, columns = images.shape
    if displacement.shape[1] == 2:
        flat = images.transpose(1, 2).reshape(batch * slices, channels, rows, columns)
        where = _positions(displacement.transpose(1, 2).reshape(batch * slices, 2, rows, columns), spacing_mm[1:])
        found = functional.grid_sample(flat, where, padding_mode="border", align_corners=False)
        return found.view(batch, slices, channels, rows, columns).transpose(1, 2)
    where = _positions(displacement, spacing_mm)
    return functional.grid_sample(images, where, padding_mode="border", align_corners=False)


def lengths(field: torch.Tensor) -> torch.Tensor:
    """How far each voxel moves, (B, 1, K, J, I) in mm; `norm` is slow over so short an axis."""
    return field.square().sum(dim=1, keepdim=True).sqrt()


def resized(field: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """The same field, in mm, on a finer or coarser grid over the same field of view."""
    if tuple(field.shape[2:]) == tuple(shape):
        return field
    if field.shape[2] == shape[0]:
        batch, parts, slices = field.shape[:3]
        flat = field.transpose(1, 2).reshape(batch * slices, parts, *field.shape[3:])
        found = functional.interpolate(flat, shape[1:], mode="bilinear")
        return found.view(batch, slices, parts, *shape[1:]).transpose(1, 2)
    return functional.interpolate(field, shape, mode="trilinear")


def _positions(displacement: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """Where to sample, as `grid_sample` wants it: last axis (i, j[, k]), −1 … 1 from edge to edge."""
    parts = []
    sizes = displacement.shape[2:]
    for axis in reversed(range(len(sizes))):
        size = sizes[axis]
        at = (torch.arange(size, dtype=displacement.dtype, device=displacement.device) * 2 + 1) / size - 1
        at = at.view([-1 if other == axis else 1 for other in range(len(sizes))])
        parts.append(at + displacement[:, axis] * (2 / (size * spacing_mm[axis])))
    return torch.stack(parts, dim=1).movedim(1, -1)  # planes are faster to copy and to read


def smallest_volume(displacement: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """The smallest Jacobian determinant of x + u(x) around each control point; below 0 the linear field between folds.

    Within a cell of a bilinear field the determinant is smallest in a corner, so that the one-sided differences at all
    control points tell of the field everywhere. (In 3D the corners are a close sample.)

    Returns:
        (B, K, J, I).
    """
    parts = displacement.shape[1]
    axes = range(3 - parts, 3)
    least = None
    slopes = {}
    for axis in axes:
        size = displacement.shape[2 + axis]
        for side in (0, 1):
            if size == 1:
                slopes[axis, side] = torch.zeros_like(displacement)
                continue
            steps = displacement.diff(dim=2 + axis) / spacing_mm[axis]
            edge = steps.narrow(2 + axis, size - 2 if side else 0, 1)
            slopes[axis, side] = torch.cat([steps, edge] if side else [edge, steps], dim=2 + axis)
    identity = torch.eye(parts, dtype=displacement.dtype, device=displacement.device)
    for sides in itertools.product((0, 1), repeat=parts):
        columns = [slopes[axis, side] for axis, side in zip(axes, sides, strict=True)]
        jacobian = torch.stack(columns, dim=-1).movedim(1, -2) + identity
        volume = _determinant(jacobian)
        least = volume if least is None else torch.minimum(least, volume)
    return least


def _determinant(matrices: torch.Tensor) -> torch.Tensor:
    """Of (..., 2, 2) or (..., 3, 3); many times as fast for small matrices as a factorisation."""
    if matrices.shape[-1] == 2:
        return matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    return (matrices[..., 0, :] * torch.linalg.cross(matrices[..., 1, :], matrices[..., 2, :])).sum(-1)
