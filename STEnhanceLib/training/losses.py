"""What counts as a mistake."""

from __future__ import annotations

import torch
from torch.nn import functional

SSIM_WINDOW = 7


def charbonnier(result: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The absolute error, rounded off below 1e-3."""
    return ((result - truth).square() + 1e-6).sqrt().mean()


def edges(result: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The absolute error of the gradients (Sobel) of (B, 1, J, I) images."""
    kernel = result.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    kernels = torch.stack([kernel, kernel.T])[:, None]
    return functional.conv2d(result - truth, kernels).abs().mean()


def ssim(result: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity of (B, 1, J, I) images: 7×7 uniform window, range 1, as in `evaluation.metrics`."""
    size = SSIM_WINDOW**2
    x, y, xx, yy, xy = (
        functional.avg_pool2d(image, SSIM_WINDOW, 1)
        for image in (result, truth, result * result, truth * truth, result * truth)
    )
    unbiased = size / (size - 1)
    vx, vy, vxy = unbiased * (xx - x * x), unbiased * (yy - y * y), unbiased * (xy - x * y)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * x * y + c1) * (2 * vxy + c2) / ((x * x + y * y + c1) * (vx + vy + c2))
    return similarity.mean()


def total_variation(volume: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbours along each of the last three axes, summed; axes of one voxel count 0."""
    return sum(
        volume.diff(dim=axis).abs().mean() if volume.shape[axis] > 1 else volume.new_zeros(()) for axis in (-3, -2, -1)
    )


def psnr(result: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """In dB, with a range of 1."""
    return -10 * torch.log10(functional.mse_loss(result, truth))
