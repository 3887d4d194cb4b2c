"""Aligns images of neighbouring moments: optical flow of Lucas and Kanade on a small pyramid, without training.

Lucas and Kanade: An iterative image registration technique with an application to stereo vision. IJCAI 1981.
"""

from __future__ import annotations

import torch
from torch.nn import functional

LEVELS = (4, 2, 1)
WINDOW = 7
LARGEST_STEP = 1.0  # pixels of a level, per iteration
REGULARITY = 1e-3  # of the squared gradient of images on a scale of about 1


@torch.no_grad()
def displacement(moving: torch.Tensor, fixed: torch.Tensor, iterations: int = 2) -> torch.Tensor:
    """Where to look in `moving` for each pixel of `fixed`.

    Args:
        moving, fixed: (B, 1, J, I) on an intensity scale of about 1.
        iterations: per level of the pyramid.

    Returns:
        (B, 2, J, I) in pixels along J and I, smooth; zero where the images have no structure.
    """
    rows, columns = fixed.shape[-2:]
    found = fixed.new_zeros(len(fixed), 2, 1, 1)
    for level in LEVELS:
        if min(rows, columns) < 2 * WINDOW * level:
            continue
        size = (-(-rows // level), -(-columns // level))
        small_moving, small_fixed = (functional.interpolate(x, size, mode="area") for x in (moving, fixed))
        steps = fixed.new_tensor([size[0] / found.shape[-2], size[1] / found.shape[-1]]).view(1, 2, 1, 1)
        coarse = found.shape[-2:] == (1, 1)
        found = functional.interpolate(found, size, mode="bilinear") * (0 if coarse else steps)
        for _ in range(iterations):
            found = found + _step(warp(small_moving, found), small_fixed)
            found = functional.avg_pool2d(found, 3, 1, 1, count_include_pad=False)
    return found if found.shape[-2:] == (rows, columns) else fixed.new_zeros(len(fixed), 2, rows, columns)


def warp(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Images as seen from their displaced pixels, interpolated linearly; the edge is repeated beyond the field of view.

    Linear interpolation costs zero-filled images nothing, since they are oversampled; sharp ones want `warp_sharp`.

    Args:
        images: (B, C, J, I).
        by: (B, 2, J, I) in pixels along J and I.
    """
    return _sampled(images, by, "bilinear")


def warp_sharp(images: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """The same with a cubic kernel, which keeps the fine detail of a sharp image."""
    return _sampled(images, by, "bicubic")


def enlarged(by: torch.Tensor, shape_ji: tuple[int, int]) -> torch.Tensor:
    """A displacement on a finer grid, in its pixels. A field this smooth does not mind a fraction of a coarse pixel."""
    factor = by.new_tensor([shape_ji[0] / by.shape[-2], shape_ji[1] / by.shape[-1]]).view(1, 2, 1, 1)
    return functional.interpolate(by, shape_ji, mode="bilinear") * factor


def _step(moved: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """One Gauss-Newton step of the displacement that takes `moved` onto `fixed`, window by window."""
    average = functional.pad((moved + fixed) / 2, (1, 1, 1, 1), mode="replicate")
    gj = (average[..., 2:, 1:-1] - average[..., :-2, 1:-1]) / 2
    gi = (average[..., 1:-1, 2:] - average[..., 1:-1, :-2]) / 2
    difference = fixed - moved
    sums = functional.avg_pool2d(
        torch.cat([gj * gj, gi * gi, gj * gi, gj * difference, gi * difference], dim=1), WINDOW, 1, WINDOW // 2
    )
    jj, ii, ji, jd, id_ = sums.unbind(dim=1)
    jj, ii = jj + REGULARITY, ii + REGULARITY
    determinant = jj * ii - ji * ji
    step = torch.stack([ii * jd - ji * id_, jj * id_ - ji * jd], dim=1) / determinant[:, None]
    return step.clamp(-LARGEST_STEP, LARGEST_STEP)


def _sampled(images: torch.Tensor, by: torch.Tensor, mode: str) -> torch.Tensor:
    rows, columns = images.shape[-2:]
    j = torch.arange(rows, device=by.device, dtype=by.dtype).view(1, -1, 1) + by[:, 0]
    i = torch.arange(columns, device=by.device, dtype=by.dtype).view(1, 1, -1) + by[:, 1]
    where = torch.stack([2 * i / max(columns - 1, 1) - 1, 2 * j / max(rows - 1, 1) - 1], dim=-1)
    return functional.grid_sample(images, where, mode=mode, padding_mode="border", align_corners=True)
