"""TSSC-Net in small, as after training or before it, and numbers to feed it."""

from __future__ import annotations

import torch

from STEnhanceLib.networks.diffusion_transformer import DiffusionTransformer
from STEnhanceLib.networks.tri_mamba import TriMamba
from STEnhanceLib.networks.tssc_net import volumes_between

SMALL = {"width": 16, "blocks": 2, "heads": 2, "condition": 8}


def some(*shape: int, seed: int = 1, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transformer(trained: bool = True, **configuration) -> DiffusionTransformer:
    torch.manual_seed(2)
    network = DiffusionTransformer(**{**SMALL, **configuration}).eval()
    with torch.no_grad():
        for weight in network.parameters() if trained else ():
            if not weight.any():  # layers that start with nothing would hide what is before them
                weight.normal_(std=0.1)
    return network


def mamba(trained: bool = True) -> TriMamba:
    torch.manual_seed(2)
    network = TriMamba(features=4, blocks=1, states=2).eval()
    if trained:
        torch.nn.init.normal_(network.last.weight, std=0.1)
    return network


def between(stage1, stage2=None, *, ends=None, fractions=(0.25, 0.5, 0.75), seed=0, steps=2, **more) -> torch.Tensor:
    ends = 0.5 + 0.2 * some(2, 3, 16, 24) if ends is None else ends
    return volumes_between(
        stage1, stage2, ends, torch.tensor(fractions), steps=steps, generator=seeded(seed), **more
    )  # fmt: skip
