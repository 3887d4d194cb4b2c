"""Stage 1 of TSSC-Net: a transformer that denoises all frames between two measured ones together.

Zhou et al.: A diffusion-driven temporal super-resolution and spatial consistency enhancement framework for 4D MRI
imaging. MICCAI 2025 (arXiv 2506.04116). Adaptive normalisation that starts as the identity: Peebles and Xie, ICCV 2023
(arXiv 2212.09748); one linear map of it for all blocks: Chen et al., ICLR 2024 (arXiv 2310.00426). Rotary positions: Su
et al., 2021 (arXiv 2104.09864).

It departs from the paper in two points. What is denoised is not the frames but how they differ from the linear blend
of both ends, so that training starts from the blend. And patches know where they lie by rotation of their queries and
keys, so that images may be larger than those practised on.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.networks.ddim import LEVELS
from STEnhanceLib.networks.padding import padded

MOST_FRAMES = 16  # between two measured ones, that are practised at once
WAVES = 32  # numbers that stand for a time or a level
PARTS = 9  # shift, scale and gate, for each of the three layers of a block
# About the paper's size: 0.86 billion parameters.
PAPER = {"width": 1280, "blocks": 32, "heads": 16, "mlp": 4, "condition": 1280}


class DiffusionTransformer(nn.Module):
    """Predicts clean differences from the linear blend.

    Args:
        channels: of the frames: 1 for images, more for the latents of an autoencoder.
        fold: pixels per side of a patch; 8 for images, 1 or 2 for latents.
        width: numbers per patch, a multiple of four times the heads.
        blocks: each of temporal attention, spatial attention and a perceptron.
        heads: of each attention.
        mlp: how many times wider the perceptron is inside.
        condition: numbers that tell each frame its time and noise.
        spread: what noise of size 1 stands for, on an intensity scale of 1.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        fold: int = 8,
        width: int = 256,
        blocks: int = 8,
        heads: int = 4,
        mlp: int = 3,
        condition: int = 64,
        spread: float = 0.1,
    ):
        super().__init__()
        if width % (4 * heads):
            raise ValueError(f"width {width} is no multiple of four times the {heads} heads")
        self.fold, self.spread, self.head_width = fold, spread, width // heads
        numbers = channels * fold**2
        self.end = nn.Linear(numbers, width)
        self.between = nn.Linear(2 * numbers, width)
        self.told = nn.Sequential(
            nn.Linear(2 * WAVES + 1, condition), nn.SiLU(), nn.Linear(condition, condition), nn.SiLU()
        )
        self.moment = nn.Linear(condition, width)
        self.modulation = nn.Linear(condition, PARTS * width)
        self.blocks = nn.ModuleList(_Block(width, heads, mlp) for _ in range(blocks))
        self.last_modulation = nn.Linear(condition, 2 * width)
        self.last = nn.Conv2d(width, numbers, 3, padding=1)  # neighbouring patches agree along their border
        for layer in (self.modulation, self.last_modulation, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, noisy: torch.Tensor, ends: torch.Tensor, fractions: torch.Tensor, level: torch.Tensor
    ) -> torch.Tensor:
        """The clean differences from the blend, in units of `spread`.

        Args:
            noisy: (B, F, C, J, I) differences with noise, for frames in any number.
            ends: (B, 2, C, J, I) both measured frames, on an intensity scale of about 1.
            fractions: (B, F) of the way from the first to the last frame, 0 … 1, in any distances.
            level: (B,) of noise, 0 for clean … `ddim.LEVELS`.

        Returns:
            (B, F, C, J, I) float32
        """
        rows, columns = noisy.shape[-2:]
        noisy, ends = padded(noisy, self.fold), padded(ends, self.fold)
        between = torch.cat([noisy, linear_blend(ends, fractions)], dim=2)
        ends, between = functional.pixel_unshuffle(ends, self.fold), functional.pixel_unshuffle(between, self.fold)
        size = ends.shape[-2:]
        first, last = self.end(_patches(ends)).split(1, dim=1)
        told = self.told(_about_frames(fractions, level))
        x = torch.cat([first, self.between(_patches(between)), last], dim=1) + self.moment(told)[:, :, None]
        x = x.float()  # blocks add to it in full precision
        modulation = self.modulation(told).unflatten(-1, (PARTS, -1))
        rotation = _rotation(size, self.head_width, x)
        for block in self.blocks:
            x = block(x, modulation, rotation)
        shift, scale = self.last_modulation(told)[:, 1:-1, None].chunk(2, dim=-1)
        x = _normalized(x[:, 1:-1]) * (1 + scale) + shift
        found = self.last(x.mT.flatten(0, 1).unflatten(-1, size)).float()
        found = functional.pixel_shuffle(found, self.fold).unflatten(0, fractions.shape)
        return found[..., :rows, :columns]


def linear_blend(ends: torch.Tensor, fractions: torch.Tensor) -> torch.Tensor:
    """(B, 2, ...) and (B, F) → (B, F, ...): both ends weighted by their distance in time."""
    share = fractions.view(*fractions.shape, *[1] * (ends.ndim - 2)).to(ends)
    return ends[:, :1] + share * (ends[:, 1:] - ends[:, :1])


class _Block(nn.Module):
    """Attention across the frames at one patch, attention within each frame, perceptron."""

    def __init__(self, width: int, heads: int, mlp: int):
        super().__init__()
        self.in_time, self.in_space = _Attention(width, heads), _Attention(width, heads)
        self.perceptron = nn.Sequential(
            nn.Linear(width, mlp * width), nn.GELU(approximate="tanh"), nn.Linear(mlp * width, width)
        )
        self.table = nn.Parameter(torch.zeros(PARTS, width))

    def forward(self, x: torch.Tensor, modulation: torch.Tensor, rotation: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """(B, T, P, width) patches of frames to the same."""
        frames = x.shape[1]
        shift, scale, gate = (modulation + self.table)[:, :, None].unflatten(3, (3, 3)).unbind(4)
        now = _normalized(x) * (1 + scale[..., 0, :]) + shift[..., 0, :]
        now = self.in_time(now.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)
        x = x + gate[..., 0, :] * now
        now = _normalized(x) * (1 + scale[..., 1, :]) + shift[..., 1, :]
        x = x + gate[..., 1, :] * self.in_space(now.flatten(0, 1), rotation).unflatten(0, (len(x), frames))
        now = _normalized(x) * (1 + scale[..., 2, :]) + shift[..., 2, :]
        return x + gate[..., 2, :] * self.perceptron(now)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor, rotation: tuple[torch.Tensor, ...] | None = None) -> torch.Tensor:
        """(N, L, width) to the same."""
        x = x.contiguous()  # else each row becomes a product of its own, which half precision does not like
        query, key, value = self.inward(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Of one length, so that half precision and large learning rates cannot blow up their products.
        query, key = (functional.rms_norm(part, part.shape[-1:]) for part in (query, key))
        if rotation is not None:
            query, key = _rotated(query, *rotation), _rotated(key, *rotation)
        found = _attended(query.to(value), key.to(value), value)
        return self.outward(found.transpose(1, 2).flatten(2))


def _attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(N, heads, L, d) each to the same. In training on a CPU the plain products are many times as fast in half
    precision; otherwise the fused form saves the memory of all weights."""
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(query, key, value)
    weights = (query * query.shape[-1] ** -0.5) @ key.mT
    return weights.softmax(-1, dtype=torch.float32).to(value) @ value


def _normalized(x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:])


def _patches(x: torch.Tensor) -> torch.Tensor:
    """(B, T, C, h, w) → (B, T, h · w, C)."""
    return x.flatten(-2).mT.contiguous()


def _about_frames(fractions: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(B, F + 2, 2 · WAVES + 1): where each frame lies in time, how noisy it is, and whether it was measured."""
    fractions = functional.pad(functional.pad(fractions.float(), (1, 0)), (0, 1), value=1.0)
    between = functional.pad(torch.ones_like(fractions[:, 1:-1]), (1, 1))
    level = between * (level[:, None] / LEVELS)
    return torch.cat([_waves(fractions), _waves(level), 1 - between[..., None]], dim=-1)


def _waves(values: torch.Tensor) -> torch.Tensor:
    """(...,) between 0 and 1 → (..., WAVES): cosines and sines from half a turn to 32 turns."""
    turns = torch.pi * 64 ** torch.linspace(0, 1, WAVES // 2, device=values.device)
    angles = values[..., None] * turns
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _rotation(size: tuple[int, int], width: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine (h · w, width / 2): one half of the angles grows with the row of a patch, the other with its
    column."""
    rates = 64 ** -torch.linspace(0, 1, width // 4, device=like.device)
    row, column = (torch.arange(n, device=like.device)[:, None] * rates for n in size)
    angles = torch.cat([row[:, None].expand(-1, size[1], -1), column.expand(size[0], -1, -1)], dim=-1).flatten(0, 1)
    return angles.cos(), angles.sin()


def _rotated(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)
