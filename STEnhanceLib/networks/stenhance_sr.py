"""STEnhance-SR: super-resolution of a cine at the price of its low resolution.

The zero-filled images of the frame and of its two neighbours, and a sharp prior where there is one, are folded four by
four into channels (pixel unshuffle), so that the trunk works on a sixteenth of the pixels. Its output is added to the
zero-filled image; the caller puts the measured k-space back. One network serves every factor and every scanner: it is
told which share of k-space was measured along each axis, how much noise there is, and how far the scanner's filter had
lowered the edge of k-space before that was undone.

Trunk at low resolution: Shi et al., CVPR 2016 (arXiv 1609.05158); residual blocks: Lim et al. (arXiv 1707.02921); data
consistency: Schlemper et al., IEEE TMI 2018 (arXiv 1704.02422).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.acquisition import centre_crop_torch
from STEnhanceLib.networks import alignment
from STEnhanceLib.networks.padding import padded

FOLD = 4
FRAMES = 3  # t, t-1, t+1
SCAN = 3  # what `scan_conditions` tells
TYPICAL_NOISE = 0.02  # of the brightness
PERFECT = (0.0, 0.0, 0.0)  # no noise, no filter


def scan_conditions(noise: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """What the network is told of a scan beside its support: (B, 3), all 0 for a perfect one.

    Args:
        noise: (B, 1) standard deviation of the complex noise per channel and pixel of the measured matrix, after the
            scanner's filter was undone; in units of the images.
        edges: (B, 2) to what share the filter had lowered the edge of k-space along J and I, in (0, 1].
    """
    return torch.cat([noise / (noise + TYPICAL_NOISE), 1 - edges], dim=1)


class ConditionedBlock(nn.Module):
    """A residual block whose branch is weighted, feature by feature, by what is known about the measurement."""

    def __init__(self, features: int, conditions: int):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        self.gain = nn.Linear(conditions, features)
        nn.init.zeros_(self.gain.weight)
        nn.init.constant_(self.gain.bias, 0.25)

    def forward(self, x: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) and (B, conditions) → (B, C, h, w)."""
        gain = self.gain(conditions)[..., None, None]
        return x + gain * self.second(functional.leaky_relu(self.first(x), 0.1))


class StenhanceSr(nn.Module):
    """Residual network on folded images.

    Args:
        features, blocks: width and depth of the trunk; 64 and 11 cost 7.0 GFLOP per 256×256 frame, 48 and 10 3.7.
        told_of_scan: it is told of the scan, see `scan_conditions`, and not of the measured share and the prior alone.
    """

    def __init__(self, features: int = 64, blocks: int = 11, told_of_scan: bool = False):
        super().__init__()
        self.told_of_scan = told_of_scan
        conditions = 3 + told_of_scan * SCAN  # measured share along J and I, and whether there is a prior
        self.radius = FOLD * (2 * blocks + 2) + FOLD - 1  # how far, in pixels, an output looks around
        self.head = nn.Conv2d((FRAMES + 1) * FOLD**2, features, 3, padding=1)
        self.body = nn.ModuleList(ConditionedBlock(features, conditions) for _ in range(blocks))
        self.tail = nn.Conv2d(features, FOLD**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)  # training starts from the zero-filled image
        nn.init.zeros_(self.tail.bias)

    def forward(
        self,
        zero_filled: torch.Tensor,
        prior: torch.Tensor | None,
        support: torch.Tensor,
        has_prior: torch.Tensor | None = None,
        scan: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The sharper frame, before data consistency.

        Args:
            zero_filled: (B, 3, J, I) the frame and its neighbours t-1 and t+1, aligned to it.
            prior: (B, 1, J, I) a sharp image of the same anatomy, aligned to the frame; None for none, and zeros for
                samples of the batch that have none.
            support: (B, 2) measured share of k-space along J and I, each in (0, 1].
            has_prior: (B, 1) for tiles, which may be dark where the whole image is not; found in `prior` if None.
            scan: (B, 3) of `scan_conditions`, for a network that is told of the scan; None for one without noise and
                filter.

        Returns:
            (B, 1, J, I)
        """
        if prior is None:
            prior = torch.zeros_like(zero_filled[:, :1])
        if has_prior is None:
            has_prior = prior.flatten(1).any(dim=1, keepdim=True)
        conditions = [support, has_prior.to(support)]
        if self.told_of_scan:
            conditions.append(support.new_tensor([PERFECT]).expand(len(support), SCAN) if scan is None else scan)
        conditions = torch.cat(conditions, dim=1)
        rows, columns = zero_filled.shape[-2:]
        x = torch.cat([zero_filled, prior], dim=1)
        x = padded(x, FOLD)
        x = self.head(functional.pixel_unshuffle(x, FOLD))
        for block in self.body:
            x = block(x, conditions)
        residual = functional.pixel_shuffle(self.tail(x), FOLD)[..., :rows, :columns]
        return zero_filled[:, :1] + residual


def aligned_inputs(
    low: torch.Tensor, prior: torch.Tensor | None, shape_ji: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the network takes, made from what was measured.

    Args:
        low: (B, 3, j, i) the frame and its neighbours t-1 and t+1, as measured.
        prior: (B, 1, J, I) or (1, 1, J, I) sharp, on the fine grid; None or zeros for none.
        shape_ji: the fine matrix.

    Returns:
        (B, 3, J, I) zero-filled and (B, 1, J, I) prior, both aligned to the frame.
    """
    now, around = low[:, :1], low[:, 1:]
    still = torch.equal(around, now.expand_as(around))
    zero_filled = centre_crop_torch.resample(low, shape_ji)
    if not still:
        by = alignment.displacement(around.flatten(0, 1)[:, None], now.repeat_interleave(2, dim=0))
        moved = alignment.warp(zero_filled[:, 1:].flatten(0, 1)[:, None], alignment.enlarged(by, shape_ji))
        zero_filled = torch.cat([zero_filled[:, :1], moved.view_as(zero_filled[:, 1:])], dim=1)
    if prior is not None and prior.any():
        prior = prior.expand(len(low), -1, -1, -1)
        by = alignment.displacement(centre_crop_torch.resample(prior, low.shape[-2:]), now)
        prior = alignment.warp_sharp(prior, alignment.enlarged(by, shape_ji)) * prior.flatten(1).any(1).view(
            -1, 1, 1, 1
        )
    return zero_filled, prior
