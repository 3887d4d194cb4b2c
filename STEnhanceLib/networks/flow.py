"""Learned motion: from two frames, in one pass, the way that tissue goes between them, and the frames on that way.

After Kim et al.: Data-efficient unsupervised interpolation without any intermediate frame for 4D medical images
(UVI-Net). CVPR 2024: the flow of both ends, warped images that are blended, and a small network that refines the
blend. The flow is that of a pyramid with correlations (Sun et al.: PWC-Net. CVPR 2018), made symmetric: both images
meet half way, and swapping them turns the sign of the velocity. Beside the correlations, which find large motion, it is
told the step of Lucas and Kanade (IJCAI 1981), which finds what is left of less than a pixel. One small network serves
all levels of the pyramid, so that it can tell large motion on fine matrices as it tells small motion on coarse ones.
Slices are seen one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.motion import fields, spline
from STEnhanceLib.networks.padding import padded

CONTROL = 4  # pixels from one control point to the next, on the level of that size of pixel
SPACING = (1.0, float(CONTROL), float(CONTROL))  # of the control grid, in pixels
LEVELS = (8, 4, 2, 1)  # of the pyramid: so many pixels make one
SMOOTHINGS, SMALLER = 12, 0.8  # of motion that folds: at most so many times, each time made smaller by this
REGULARITY = 1e-3  # of the squared gradient of images, where there is little of it
FEWEST = 4  # control points along the shorter side of the coarsest level


class Between(NamedTuple):
    """What lies between two images; one entry per moment in the lists.

    Attributes:
        velocity: (B, 2, K, J', I') in pixels on the control grid, see `motion.fields`: second∘exp(v) ≈ first.
        spacing: of the control grid along (k, j, i), in pixels.
        ways: where each moment comes from and goes to: two displacements like `velocity`.
        volume: (B, K, J', I') the smallest Jacobian determinant of all these warps; below 0 tissue is folded.
        moved: both ends as they would look at the moment, (B, K, J, I) each.
        frames: (B, K, J, I), both blended and refined.
    """

    velocity: torch.Tensor
    spacing: tuple[float, float, float]
    ways: list[tuple[torch.Tensor, torch.Tensor]]
    volume: torch.Tensor
    moved: list[tuple[torch.Tensor, torch.Tensor]]
    frames: list[torch.Tensor]


class FlowNetwork(nn.Module):
    """See the module.

    Args:
        features: of an image, which are compared.
        width: of the layers that conclude from them how tissue moves.
        reach: control points to each side, on every level, among which the same tissue is looked for.
        refining: features of the refiner.
    """

    def __init__(self, features: int = 16, width: int = 48, reach: int = 2, refining: int = 16):
        super().__init__()
        self.reach = reach
        self.encoder = _layers([1, features, 24, 24, features], strides=(2, 2, 1, 1))
        self.estimator = _layers([2 * features + (2 * reach + 1) ** 2 + 4, width, width, width // 2, 2])
        self.refiner = _layers([3, refining, refining, 1])
        for last in (self.estimator[-1], self.refiner[-1]):  # nothing moves, and nothing is added, before training
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        fractions: Sequence[float],
        refine: bool = True,
        unfold: bool = False,
    ) -> Between:
        """The frames at fractions of the way from the first image to the second; below 0 or above 1 beyond them.

        Args:
            first, second: (B, K, J, I) of any size, on an intensity scale of about 1.
            fractions: of the way.
            refine: let the refiner correct the blend.
            unfold: smooth the motion of slices in which tissue would be folded.
        """
        velocity = self._velocity(first, second)
        with torch.autocast(first.device.type, enabled=False):
            ways = _ways(velocity, fractions)
            for _ in range(SMOOTHINGS if unfold else 0):
                folded = (_least_volume(ways) <= 0).flatten(2).any(-1)
                if not folded.any():
                    break
                velocity = torch.where(folded[:, None, :, None, None], _smoothed(velocity), velocity)
                ways = _ways(velocity, fractions)
            splines = [spline.coefficients(image[:, None].float(), in_plane=True) for image in (first, second)]
            moved = [tuple(_moved(image, way) for image, way in zip(splines, both, strict=True)) for both in ways]
        frames = []
        for fraction, (one, other) in zip(fractions, moved, strict=True):
            frame = one + fraction * (other - one)
            frames.append(frame + self._residual(one, other, fraction) if refine else frame)
        return Between(velocity, SPACING, ways, _least_volume(ways), moved, frames)

    def _velocity(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        batch, slices, rows, columns = first.shape
        levels = [level for level in LEVELS if level == 1 or CONTROL * level * FEWEST <= min(rows, columns)]
        images = torch.cat([first, second]).reshape(-1, 1, rows, columns)
        images = padded(images, CONTROL * levels[0])
        velocity = images.new_zeros(batch * slices, 2, 1, 1, 1)
        for level in levels:
            velocity = self._improved(velocity, functional.avg_pool2d(images, level), level)
        velocity = velocity[..., : -(-rows // CONTROL), : -(-columns // CONTROL)]
        return velocity.reshape(batch, slices, 2, *velocity.shape[-2:]).transpose(1, 2)

    def _improved(self, velocity: torch.Tensor, images: torch.Tensor, level: int) -> torch.Tensor:
        """The velocity corrected by what is left to see where both images, (2 N, 1, j, i) in all, meet."""
        cell = float(CONTROL * level)
        spacing, pixel = (1.0, cell, cell), (1.0, float(level), float(level))
        features = functional.normalize(self.encoder(images).float(), eps=1e-3)
        velocity = fields.resized(velocity, (1, *features.shape[-2:]))
        halves = torch.cat([fields.exponential(half, spacing) for half in (-velocity / 2, velocity / 2)])
        one = fields.linearly_sampled(features[:, :, None], halves, spacing)[:, :, 0]
        other = one.roll(len(velocity), 0)
        moved = fields.linearly_sampled(images[:, :, None], fields.resized(halves, (1, *images.shape[-2:])), pixel)
        odd = torch.cat([velocity[:, :, 0] / cell, _lucas_kanade(*moved[:, :, 0].chunk(2)) / CONTROL], dim=1)
        seen = torch.cat([one, other, _correlations(one, other, self.reach), torch.cat([odd, -odd])], dim=1)
        there, back = self.estimator(seen).float().chunk(2)
        return velocity + cell / 2 * (there - back)[:, :, None]

    def _residual(self, one: torch.Tensor, other: torch.Tensor, fraction: float) -> torch.Tensor:
        """What the blend lacks; the same when both images and the fraction are swapped, and nothing at the ends."""
        blend, middle = one + fraction * (other - one), 4 * fraction * (1 - fraction)
        seen = [blend, (other - one).abs(), torch.full_like(blend, middle)]
        found = self.refiner(torch.stack(seen, dim=2).flatten(0, 1)).float()
        return middle * found.view_as(blend)


def _layers(channels: Sequence[int], strides: Sequence[int] | None = None) -> nn.Sequential:
    """3 × 3 convolutions with leaky rectifiers between them."""
    layers = []
    for n, (inputs, outputs) in enumerate(itertools.pairwise(channels)):
        layers += [nn.Conv2d(inputs, outputs, 3, strides[n] if strides else 1, padding=1), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-1])


def _lucas_kanade(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(N, 2, h, w) the step in pixels, at most one, that takes the second image onto the first around each point."""
    gj, gi = torch.gradient((first + second) / 2, dim=(-2, -1))
    products = torch.cat([gj * gj, gi * gi, gj * gi, gj * (first - second), gi * (first - second)], dim=1)
    means = functional.avg_pool2d(functional.avg_pool2d(products, CONTROL), 3, 1, 1, count_include_pad=False)
    jj, ii, ji, jd, id_ = means.unbind(dim=1)
    jj, ii = jj + REGULARITY, ii + REGULARITY
    step = torch.stack([ii * jd - ji * id_, jj * id_ - ji * jd], dim=1) / (jj * ii - ji * ji)[:, None]
    return step.clamp(-1, 1)


def _correlations(one: torch.Tensor, other: torch.Tensor, reach: int) -> torch.Tensor:
    """(N, (2 · reach + 1)², h, w): how alike the features are to those of the other image around the same place."""
    rows, columns = one.shape[-2:]
    around = functional.pad(other, 4 * (reach,))
    steps = range(2 * reach + 1)
    return torch.stack([(one * around[..., j : j + rows, i : i + columns]).sum(1) for j in steps for i in steps], dim=1)


def _ways(velocity: torch.Tensor, fractions: Sequence[float]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [fields.straight(velocity, fraction, SPACING) for fraction in fractions]


def _least_volume(ways: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """(B, K, J', I') the smallest one of all warps, see `fields.smallest_volume`."""
    return torch.stack([fields.smallest_volume(way, SPACING) for both in ways for way in both]).amin(0)


def _smoothed(velocity: torch.Tensor) -> torch.Tensor:
    """Over 3 × 3 control points of every slice, and a little smaller."""
    return SMALLER * functional.avg_pool3d(velocity, (1, 3, 3), 1, (0, 1, 1), count_include_pad=False)


def _moved(splines: torch.Tensor, way: torch.Tensor) -> torch.Tensor:
    slices, rows, columns = splines.shape[2:]
    fine = fields.resized(way, (slices, CONTROL * way.shape[-2], CONTROL * way.shape[-1]))
    return spline.sampled(splines, fine[..., :rows, :columns], (1.0, 1.0, 1.0))[:, 0]
