"""Stage 2 of TSSC-Net: corrects a volume whose slices were made one by one, along all three axes.

Zhou et al.: A diffusion-driven temporal super-resolution and spatial consistency enhancement framework for 4D MRI
imaging. MICCAI 2025 (arXiv 2506.04116). Gu and Dao: Mamba. COLM 2024 (arXiv 2312.00752).

It departs from the paper in two points: besides the volume it sees both measured ends, whose slices lie as they should;
and what it finds is added to the volume.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from STEnhanceLib.networks.padding import padded
from STEnhanceLib.networks.selective_scan import selective_scan

MULTIPLE = 4  # two halvings in-plane
# Axes of (K, J, I) from the slowest to the fastest; the letters read the other way round, x being the axis of columns.
ORDERS = {"xyz": (0, 1, 2), "yzx": (2, 0, 1), "zxy": (1, 2, 0)}


class TriMamba(nn.Module):
    """Encoder, residual blocks of tri-directional Mamba, decoder; slices keep their number.

    Args:
        features: at full resolution; doubled with each of two in-plane halvings.
        blocks: at the coarsest level.
        states: of each Mamba; with the four-fold features, what decides on memory.
        inputs: channels; the first is the volume to correct.
    """

    def __init__(self, *, features: int = 16, blocks: int = 4, states: int = 4, inputs: int = 3):
        super().__init__()
        f = features
        self.down0 = nn.Sequential(nn.Conv3d(inputs, f, 3, padding=1), nn.ReLU())
        self.down1 = nn.Sequential(nn.Conv3d(f, 2 * f, 3, stride=(1, 2, 2), padding=1), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv3d(2 * f, 4 * f, 3, stride=(1, 2, 2), padding=1), nn.ReLU())
        self.blocks = nn.ModuleList(ResidualMamba(4 * f, states) for _ in range(blocks))
        self.up1 = nn.Sequential(nn.Conv3d(4 * f, 2 * f, 3, padding=1), nn.ReLU())
        self.up0 = nn.Sequential(nn.Conv3d(2 * f, f, 3, padding=1), nn.ReLU())
        self.last = nn.Conv3d(f, 1, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # training starts from the volume as it is
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, K, J, I), the volume and the measured ones before and after it → (B, 1, K, J, I)."""
        size = x.shape[-2:]
        fine = self.down0(padded(x, MULTIPLE))
        middle = self.down1(fine)
        coarse = self.down2(middle)
        for block in self.blocks:
            coarse = block(coarse)
        middle = middle + self.up1(_doubled(coarse))
        fine = fine + self.up0(_doubled(middle))
        return x[:, :1] + self.last(fine)[..., : size[0], : size[1]].float()


class ResidualMamba(nn.Module):
    """Adds to a volume what six Mambas say of it, and then what two convolutions say."""

    def __init__(self, width: int, states: int):
        super().__init__()
        self.normalization = nn.LayerNorm(width)
        self.inward, self.outward = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.mamba = TriDirectional(width, states)
        self.convolutions = nn.Sequential(
            nn.Conv3d(width, width, 3, padding=1), nn.ReLU(), nn.Conv3d(width, width, 3, padding=1)
        )

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """(B, C, K, J, I) to the same."""
        x, gate = self.inward(self.normalization(volume.movedim(1, -1))).chunk(2, dim=-1)
        found = self.mamba(x.movedim(-1, 1)).movedim(1, -1)
        volume = volume + self.outward(found * functional.silu(gate)).movedim(-1, 1)
        return volume + self.convolutions(volume)


class TriDirectional(nn.Module):
    """The mean of Mambas that read a volume in three orders, each forward and backward."""

    def __init__(self, width: int, states: int):
        super().__init__()
        self.forward_scans = nn.ModuleDict({name: Mamba(width, states) for name in ORDERS})
        self.backward_scans = nn.ModuleDict({name: Mamba(width, states) for name in ORDERS})

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """(B, C, K, J, I) to the same."""
        found = 0
        for name, order in ORDERS.items():
            tokens = as_tokens(volume, order)
            there = _scanned(self.forward_scans[name], tokens)
            back = _scanned(self.backward_scans[name], tokens.flip(1)).flip(1)
            found = found + as_volume(there + back, order, volume.shape[-3:])
        return found / (2 * len(ORDERS))


class Mamba(nn.Module):
    """Reads a sequence from its beginning to its end: a short causal convolution, then a selective scan."""

    def __init__(self, width: int, states: int, reach: int = 4):
        super().__init__()
        self.sizes = [max(1, width // 16), states, states]
        self.nearby = nn.Conv1d(width, width, reach, groups=width, padding=reach - 1)
        self.select = nn.Linear(width, sum(self.sizes), bias=False)
        self.pace = nn.Linear(self.sizes[0], width)
        self.log_rates = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.through = nn.Parameter(torch.ones(width))
        with torch.no_grad():  # paces from 0.001 to 0.1, as published
            paces = torch.exp(torch.empty(width).uniform_(math.log(1e-3), math.log(1e-1)))
            self.pace.bias.copy_(torch.log(torch.expm1(paces)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L, C) to the same, float32."""
        x = functional.silu(self.nearby(tokens.mT)[..., : tokens.shape[1]].mT)
        pace, into, out = self.select(x).split(self.sizes, dim=-1)
        pace, x = functional.softplus(self.pace(pace).float()), x.float()
        return selective_scan(x, pace, -self.log_rates.exp(), into.float(), out.float()) + self.through * x


def as_tokens(volume: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    """(B, C, K, J, I) → (B, L, C), the axes of `order` from the slowest to the fastest."""
    return volume.permute(0, *(2 + axis for axis in order), 1).flatten(1, 3)


def as_volume(tokens: torch.Tensor, order: tuple[int, ...], shape_kji: tuple[int, int, int]) -> torch.Tensor:
    """The inverse of `as_tokens`: every token returns to its place."""
    volume = tokens.unflatten(1, [shape_kji[axis] for axis in order])
    return volume.permute(0, 4, *(1 + order.index(axis) for axis in range(3)))


def _scanned(scan: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """In training, states are computed again when their gradient is: six scans would keep too many."""
    return checkpoint(scan, tokens, use_reentrant=False) if tokens.requires_grad else scan(tokens)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)
