"""The noise in the high band of a cine frame, found with the help of its two neighbours.

The three images are folded two by two into channels (pixel unshuffle), so that the trunk works on a quarter of the
pixels. The network is told the noise level, and so serves all levels (Zhang et al.: FFDNet, IEEE TIP 2018, arXiv
1710.04026). It sees images scaled so that detail and noise together have a size of about 1, and predicts the noise in
units of its level (preconditioning of Karras et al., NeurIPS 2022, arXiv 2206.00364): without noise it finds none.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from STEnhanceLib.networks.padding import padded
from STEnhanceLib.networks.stenhance_sr import ConditionedBlock

FOLD = 2
FRAMES = 3  # t, t-1, t+1
DETAIL = 0.05  # typical size of the high band, where the brightest tissue is 1


class BandDenoiser(nn.Module):
    """Residual network on folded high bands.

    Args:
        features, blocks: width and depth of the trunk; 32 and 6 cost 3.8 GFLOP per 256×256 frame.
    """

    def __init__(self, features: int = 32, blocks: int = 6):
        super().__init__()
        self.radius = FOLD * (2 * blocks + 2) + FOLD - 1  # how far, in pixels, an output looks around
        self.head = nn.Conv2d(FRAMES * FOLD**2, features, 3, padding=1)
        self.body = nn.ModuleList(ConditionedBlock(features, 1) for _ in range(blocks))
        self.tail = nn.Conv2d(features, FOLD**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)  # training starts from finding no noise
        nn.init.zeros_(self.tail.bias)

    def forward(self, bands: torch.Tensor, noise_level: torch.Tensor) -> torch.Tensor:
        """The noise of the first image.

        Args:
            bands: (B, 3, J, I) the high band of the frame and of its neighbours t-1 and t+1; the frame itself where
                there is none.
            noise_level: (B, 1) standard deviation of the noise, in units of the images; 0 or more.

        Returns:
            (B, 1, J, I), not confined to the high band.
        """
        level = noise_level[..., None, None]
        size = (level.square() + DETAIL**2).sqrt()
        rows, columns = bands.shape[-2:]
        x = padded(bands / size, FOLD)
        x = self.head(functional.pixel_unshuffle(x, FOLD))
        share = (level / size).flatten(1)
        for block in self.body:
            x = block(x, share)
        return level * functional.pixel_shuffle(self.tail(x), FOLD)[..., :rows, :columns]
