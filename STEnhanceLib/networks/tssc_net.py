"""TSSC-Net as a whole: from two measured volumes to those between, slice by slice first, then made consistent.

Zhou et al.: A diffusion-driven temporal super-resolution and spatial consistency enhancement framework for 4D MRI
imaging. MICCAI 2025 (arXiv 2506.04116). Intensities are scaled by the two ends alone, which is all that is known when
the network is used; the published code scales by the frames it is to find.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from STEnhanceLib.networks import ddim
from STEnhanceLib.networks.diffusion_transformer import MOST_FRAMES, DiffusionTransformer, linear_blend
from STEnhanceLib.networks.intensity import brightness
from STEnhanceLib.networks.tri_mamba import TriMamba


@torch.no_grad()
def volumes_between(
    stage1: DiffusionTransformer,
    stage2: TriMamba | None,
    ends: torch.Tensor,
    fractions: torch.Tensor,
    *,
    steps: int,
    generator: torch.Generator,
    at_once: int = 1,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """All volumes between two measured ones.

    Args:
        stage1: makes the frames of each slice, at most `MOST_FRAMES` in one sampling run.
        stage2: makes the slices of each volume consistent; None leaves that out.
        ends: (2, K, J, I) float32 on any intensity scale, where the networks are.
        fractions: (F,) of the way from the first to the last, 0 … 1, increasing, in any distances.
        steps: of the diffusion.
        generator: of the noise, on the CPU; the same seed gives the same volumes however many slices are done at once.
        at_once: slices in one call of stage 1.
        on_step: told how many of how many calls of the networks are done.

    Returns:
        (F, K, J, I) on the scale of the ends.
    """
    scale = brightness(ends)
    ends, fractions = ends / scale, fractions.to(ends)
    shape = (ends.shape[1], len(fractions), 1, *ends.shape[2:])
    noise = torch.randn(shape, generator=generator)  # all of it first, so that it does not depend on the rest
    slices, result = range(0, len(noise), at_once), torch.empty_like(noise, device=ends.device)
    groups = [range(len(fractions))[first : first + MOST_FRAMES] for first in range(0, len(fractions), MOST_FRAMES)]
    total = len(slices) * len(groups) * steps + (0 if stage2 is None else len(fractions))
    done = 0

    def tell(*_) -> None:
        nonlocal done
        done += 1
        on_step(done, total)

    for first in slices:
        some = slice(first, first + at_once)
        both = ends[:, some].transpose(0, 1)[:, :, None]
        for group in groups:
            part = slice(group.start, group.stop)
            when = fractions[part].expand(len(both), -1)
            result[some, part] = frames_between(stage1, both, when, noise[some, part], steps=steps, on_step=tell)
    volumes = result[:, :, 0].transpose(0, 1)
    if stage2 is not None:
        corrected = []
        for volume in volumes:
            corrected.append(stage2(torch.stack([volume, *ends])[None])[0, 0])
            tell()
        volumes = torch.stack(corrected)
    return volumes * scale


def frames_between(
    stage1: DiffusionTransformer,
    ends: torch.Tensor,
    fractions: torch.Tensor,
    noise: torch.Tensor,
    *,
    steps: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """One sampling run: (B, 2, C, J, I) ends, (B, F) fractions and (B, F, C, J, I) noise → (B, F, C, J, I).

    The ends are on an intensity scale of about 1 (`brightness`).
    """
    noise = noise.to(ends)
    found = ddim.sample(lambda x, level: stage1(x, ends, fractions, level), noise, steps, on_step)
    return linear_blend(ends, fractions) + stage1.spread * found
