"""Symmetric diffeomorphic registration by instance optimisation: Gauss-Newton on a stationary velocity, coarse to fine.

Both images meet half way: exp(v/2) leads from the middle to the second one, exp(−v/2) to the first. The velocity v, on
a control grid, minimises their squared difference there plus its squared gradient:

    E(v) = mean w (I1∘exp(v/2) − I0∘exp(−v/2))² + stiffness |∇v|²

after Ashburner: A fast diffeomorphic image registration algorithm. NeuroImage 2007; 38:95-113. On the fine levels the
images are locally normalised, which makes this a local correlation (Avants et al., Med Image Anal 2008; 12:26-41);
w forgives what no motion explains. A step δ solves (H + stiffness L) δ = −(b + stiffness L v) by conjugate gradients on
the control grid, where H and b are the averages of w g gᵀ and w g r around each control point (g: gradient,
r: difference). As v is in mm and ∇v has no unit, one stiffness fits all levels, voxel sizes and directions. (Bending
energy instead of |∇v|² changed interpolated cines by less than 0.1 dB, and took twice the solver steps.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from STEnhanceLib.motion.fields import exponential, lengths, linearly_sampled, resized

NORMALISED_OVER = (4, 5)  # twice the mean over 5 blocks of 4 voxels, as a Gaussian of 8 voxels
CONTRAST_FLOOR = 0.1  # of the intensity scale: below, structure counts as noise
CONTRAST = 0.2  # of normalised images
FORGIVEN = 0.1  # a larger difference counts less than its square
USUAL_DIFFERENCE = 0.02  # mean squared, where there is some; a slice counts the more, the more there is to explain
SMALLEST_GRID = 4  # control points along an axis that is long enough


class Level(NamedTuple):
    """Voxels are `coarseness` of the finest spacing wide, control points lie `control` of them apart."""

    coarseness: int
    control: int
    steps: int
    normalised: bool  # around large motion there is little of the same tissue to normalise by


LEVELS = (Level(8, 2, 6, False), Level(4, 2, 6, False), Level(2, 2, 6, True), Level(1, 4, 4, True))
SOLVER_STEPS = 16


@torch.no_grad()
def register(
    first: torch.Tensor, second: torch.Tensor, spacing_mm: tuple[float, ...], stiffness: float, in_plane: bool
) -> torch.Tensor:
    """The motion from the first image of each pair to the second.

    Args:
        first, second: (B, K, J, I) on an intensity scale of about 1, whose sides are multiples of `padding_unit`.
        spacing_mm: along (k, j, i).
        stiffness: of tissue; 0.01 suits hearts.
        in_plane: nothing moves across slices, but neighbouring slices move alike.

    Returns:
        (B, D, K', J', I'), a velocity in mm on the control grid, see `fields`: second∘exp(v) ≈ first. Swapping the
        images turns its sign and changes nothing else.
    """
    as_they_are = (first, second)
    normalised = first, second = _normalised(first), _normalised(second)
    squared = (second - first).square()
    in_slice = {"dim": (2, 3), "keepdim": True}
    trust = squared.square().sum(**in_slice) / squared.sum(**in_slice).clamp(min=1e-9) / USUAL_DIFFERENCE
    velocity = first.new_zeros(len(first), 2 if in_plane else 3, 1, 1, 1)
    units = padding_unit(first.shape[1:], spacing_mm, in_plane)
    for level in LEVELS:
        factors = _factors(level.coarseness, spacing_mm, units)
        pair = normalised if level.normalised else as_they_are
        images = [functional.avg_pool3d(image[:, None], factors) for image in pair]
        trust_there = functional.avg_pool3d(trust[:, None], (factors[0], 1, 1))[:, 0]
        spacing = tuple(n * mm for n, mm in zip(factors, spacing_mm, strict=True))
        room = tuple(unit // factor for unit, factor in zip(units, factors, strict=True))
        control = _factors(level.control, spacing, room)
        shape = tuple(n // factor for n, factor in zip(images[0].shape[2:], control, strict=True))
        velocity = resized(velocity, shape)
        for _ in range(level.steps):
            velocity = velocity + _step(velocity, images, trust_there, stiffness, spacing=spacing, control=control)
    return velocity


def padding_unit(shape: tuple[int, ...], spacing_mm: tuple[float, ...], in_plane: bool) -> tuple[int, ...]:
    """Of which numbers (K, J, I) must be multiples for the control grid of the coarsest level to fill the image."""
    coarsest = max(level.coarseness * level.control for level in LEVELS)
    most = [2 ** int(math.log2(max(1, n // SMALLEST_GRID))) for n in shape]
    if in_plane:
        most[0] = 1
    return _factors(coarsest, spacing_mm, most)


def _factors(wanted: int, spacing_mm, most) -> tuple[int, ...]:
    """Powers of two that make voxels `wanted` times the finest spacing wide, as nearly as `most` allows."""
    finest = min(spacing_mm)
    return tuple(
        min(limit, 2 ** max(0, round(math.log2(wanted * finest / mm))))
        for mm, limit in zip(spacing_mm, most, strict=True)
    )


def _normalised(images: torch.Tensor) -> torch.Tensor:
    """Without the local mean, on the scale of the local contrast, slice by slice."""
    block, width = NORMALISED_OVER

    def mean(values):
        means = functional.avg_pool2d(values, block, ceil_mode=True)
        for _ in range(2):
            means = functional.avg_pool2d(means, width, 1, width // 2, count_include_pad=False)
        return functional.interpolate(means, values.shape[-2:], mode="bilinear")

    means = mean(images)
    contrast = (mean(images.square()) - means.square()).clamp(min=0).sqrt()
    return CONTRAST * (images - means) / (contrast + CONTRAST_FLOOR)


def _step(velocity, images, trust, stiffness, *, spacing, control) -> torch.Tensor:
    parts = velocity.shape[1]
    control_spacing = tuple(n * mm for n, mm in zip(control, spacing, strict=True))
    shape = images[0].shape[2:]
    first, second = (
        linearly_sampled(image, resized(exponential(half, control_spacing), shape), spacing)[:, 0]
        for image, half in zip(images, (-velocity / 2, velocity / 2), strict=True)
    )
    difference = second - first
    average = (first + second) / 2
    gradient = [_slope(average, axis, spacing[axis]) for axis in range(3 - parts, 3)]
    weight = trust * FORGIVEN / (difference.square() + FORGIVEN**2).sqrt()
    entries = [(a, b) for a in range(parts) for b in range(a, parts)]
    products = [weight * gradient[a] * gradient[b] for a, b in entries] + [weight * g * difference for g in gradient]
    means = _spread(functional.avg_pool3d(torch.stack(products, dim=1), control))
    hessian, slope = means[:, : len(entries)], means[:, len(entries) :]
    place = {(a, b): n for n, (low, high) in enumerate(entries) for a, b in ((low, high), (high, low))}

    def system(field):
        rows = [sum(hessian[:, place[a, b]] * field[:, b] for b in range(parts)) for a in range(parts)]
        return torch.stack(rows, dim=1) + stiffness * _roughness(field, control_spacing)

    own = [n for n, (a, b) in enumerate(entries) if a == b]
    stiff = sum(2 / mm**2 for mm, n in zip(control_spacing, velocity.shape[2:], strict=True) if n > 1)
    right = -(slope + stiffness * _roughness(velocity, control_spacing))
    step = _conjugate_gradients(system, right, hessian[:, own] + stiffness * stiff + 1e-12)
    longest = min(control_spacing[1:])
    return step * (longest / lengths(step).clamp(min=longest))


def _slope(images: torch.Tensor, axis: int, spacing_mm: float) -> torch.Tensor:
    if images.shape[1 + axis] == 1:
        return torch.zeros_like(images)
    return torch.gradient(images, spacing=spacing_mm, dim=1 + axis)[0]


def _roughness(field: torch.Tensor, spacing_mm: tuple[float, ...]) -> torch.Tensor:
    """−∇², with edges across which nothing changes."""
    total = torch.zeros_like(field)
    for axis, mm in enumerate(spacing_mm):
        _add_differences(total, field.diff(dim=2 + axis) / mm**2, 2 + axis)
    return total


def _spread(means: torch.Tensor) -> torch.Tensor:
    """Weights 1, 2, 1 along j and i: a control point reaches as far as its linear kernel."""
    for axis in (3, 4):
        spread = means.clone()
        _add_differences(spread, means.diff(dim=axis) / -4, axis)
        means = spread
    return means


def _add_differences(total: torch.Tensor, steps: torch.Tensor, axis: int) -> None:
    count = steps.shape[axis]
    total.narrow(axis, 0, count).sub_(steps)
    total.narrow(axis, 1, count).add_(steps)


def _conjugate_gradients(system, right: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    """For each pair on its own; the diagonal preconditions."""

    def product(a, b):
        return (a * b).sum((1, 2, 3, 4), keepdim=True)

    solution, residual = torch.zeros_like(right), right
    direction = residual / diagonal
    before = product(residual, direction)
    for _ in range(SOLVER_STEPS):
        image = system(direction)
        length = before / product(direction, image).clamp(min=1e-30)
        solution = solution + length * direction
        residual = residual - length * image
        scaled = residual / diagonal
        after = product(residual, scaled)
        direction = scaled + after / before.clamp(min=1e-30) * direction
        before = after
    return solution
