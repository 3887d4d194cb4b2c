"""DDoS-UNet: a 3D U-Net that sharpens a dynamic volume with the help of a sharp earlier one.

Chatterjee et al.: DDoS-UNet: incorporating temporal information using dynamic dual-channel UNet for enhancing
super-resolution of dynamic MRI. IEEE Access 2024 (arXiv 2202.05355).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.networks.padding import padded

MULTIPLE = 4  # two poolings


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv3d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


class DdosUnet(nn.Module):
    """Depth 3, two 3³ convolutions per stage, average pooling, trilinear upsampling, no normalisation.

    It departs from the paper in one point: the network's output is added to the interpolated volume, which lets it
    learn within minutes what a direct output learns in days.

    Args:
        features: width of the first stage; the paper's 64 has 5.13 M parameters.
        inputs: channels; the last one is the volume to sharpen.
    """

    def __init__(self, features: int = 64, inputs: int = 2):
        super().__init__()
        f = features
        self.radius = _radius()
        self.down1, self.down2, self.bottom = _stage(inputs, f), _stage(f, 2 * f), _stage(2 * f, 4 * f)
        self.widen2, self.up2 = nn.Conv3d(4 * f, 2 * f, 1), _stage(4 * f, 2 * f)
        self.widen1, self.up1 = nn.Conv3d(2 * f, f, 1), _stage(2 * f, f)
        self.last = nn.Conv3d(f, 1, 1)
        nn.init.zeros_(self.last.weight)  # training starts from the interpolated volume
        nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last_3d)  # two to three times as fast in half precision

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 2, K, J, I), the sharp earlier volume and the interpolated current one → (B, 1, K, J, I)."""
        size = x.shape[-3:]
        fine, middle, coarse = self.features(x)
        middle = self.up2(torch.cat([middle, self.widen2(_doubled(coarse))], dim=1))
        fine = self.up1(torch.cat([fine, self.widen1(_doubled(middle))], dim=1))
        residual = self.last(fine)[..., : size[0], : size[1], : size[2]]
        return x[:, -1:] + residual

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What the three levels of the encoder see; sizes are rounded up to multiples of 4."""
        fine = self.down1(padded(x, MULTIPLE, axes=3))
        middle = self.down2(functional.avg_pool3d(fine, 2))
        return [fine, middle, self.bottom(functional.avg_pool3d(middle, 2))]


def _radius() -> int:
    """How far, in voxels, an output looks around: its interval followed back through the network."""
    farthest = 0
    for first in range(MULTIPLE):
        low, high = first - 2, first + 2  # two convolutions
        for _ in range(2):
            low, high = (low - 1) // 2 - 2, (high - 1) // 2 + 1 + 2  # doubled linearly, then two convolutions
        for _ in range(2):
            low, high = 2 * low - 2, 2 * high + 1 + 2  # averaged in pairs, after two convolutions
        farthest = max(farthest, first - low, high - first)
    return farthest


def interpolated(images: torch.Tensor, shape_ji: tuple[int, int]) -> torch.Tensor:
    """(..., j, i) → (..., J, I), linearly, on the grid of a k-space crop: low sample n lies at index n · J / j.

    Beyond the last sample the first one follows, as in an image from the Fourier transform.
    """
    rows, columns = (_linear(old, new, images) for old, new in zip(images.shape[-2:], shape_ji, strict=True))
    return rows @ images @ columns.T


def _linear(old: int, new: int, like: torch.Tensor) -> torch.Tensor:
    """(new, old) weights of linear interpolation along one axis."""
    where = torch.arange(new, dtype=torch.float64) * old / new
    below = where.floor().long()
    share = (where - below).to(like)[:, None]
    unit = torch.eye(old).to(like)
    return (1 - share) * unit[below % old] + share * unit[(below + 1) % old]


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
