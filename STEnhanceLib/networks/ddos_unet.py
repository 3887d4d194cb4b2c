"""DDoS-UNet: a 3D U-Net that sharpens a dynamic volume with the help of a sharp earlier one.

Chatterjee et al.: DDoS-UNet: incorporating temporal information using dynamic dual-channel UNet for enhancing
super-resolution of dynamic MRI. IEEE Access 2024 (arXiv 2202.05355).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

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
    """

    def __init__(self, features: int = 64):
        super().__init__()
        f = features
        self.down1, self.down2, self.bottom = _stage(2, f), _stage(f, 2 * f), _stage(2 * f, 4 * f)
        self.widen2, self.up2 = nn.Conv3d(4 * f, 2 * f, 1), _stage(4 * f, 2 * f)
        self.widen1, self.up1 = nn.Conv3d(2 * f, f, 1), _stage(2 * f, f)
        self.last = nn.Conv3d(f, 1, 1)
        nn.init.zeros_(self.last.weight)  # training starts from the interpolated volume
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 2, K, J, I), the sharp earlier volume and the interpolated current one → (B, 1, K, J, I)."""
        size = x.shape[-3:]
        missing = [-n % MULTIPLE for n in size]
        padded = functional.pad(x, (0, missing[2], 0, missing[1], 0, missing[0]), mode="replicate")
        fine = self.down1(padded)
        middle = self.down2(functional.avg_pool3d(fine, 2))
        coarse = self.bottom(functional.avg_pool3d(middle, 2))
        middle = self.up2(torch.cat([middle, self.widen2(_doubled(coarse))], dim=1))
        fine = self.up1(torch.cat([fine, self.widen1(_doubled(middle))], dim=1))
        residual = self.last(fine)[..., : size[0], : size[1], : size[2]]
        return x[:, 1:] + residual


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
