"""The xt/yt U-Net between steps of data consistency: what it cleans is held to the samples of all coils.

Each block cleans the images by an `XtYtUnet` on temporal frequencies and then solves (AᴴA + λ) x = Aᴴy + λ x_net by a
few steps of conjugate gradients; λ of every block is learnt. Kofler et al., Med Phys 2021; 48:2412-2425 (arXiv
2102.00783), with several blocks as in Aggarwal, Mani, Jacob: MoDL, IEEE TMI 2019; 38:394-405.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from STEnhanceLib.acquisition.operators import conjugate_gradient
from STEnhanceLib.networks.xt_yt_unet import XtYtUnet, as_channels, as_complex

if TYPE_CHECKING:
    from STEnhanceLib.acquisition.operators import Operator

START_STRENGTH = 0.05  # how firmly the first guess is held to the average over time


class XtYtCascade(nn.Module):
    """Reconstructs one slice from its samples.

    Args:
        blocks: of network and data consistency.
        steps: of conjugate gradients, in each block and for the first guess.
        features, stages, convolutions, fold, frequencies: of every `XtYtUnet`.
    """

    def __init__(
        self,
        *,
        blocks: int = 4,
        steps: int = 2,
        features: int = 16,
        stages: int = 3,
        convolutions: int = 2,
        fold: int = 2,
        frequencies: bool = True,
    ):
        super().__init__()
        self.steps = steps
        self.networks = nn.ModuleList(
            XtYtUnet(features=features, stages=stages, convolutions=convolutions, fold=fold, frequencies=frequencies)
            for _ in range(blocks)
        )
        self.log_strengths = nn.Parameter(torch.full((blocks,), -2.0))

    def forward(
        self,
        operator: Operator,
        samples: torch.Tensor,
        consistent: bool = True,
        on_block: Callable[[int, int], None] = lambda done, total: None,
        periodic: bool = True,
    ) -> torch.Tensor:
        """The images, on the scale of the samples.

        Args:
            operator: of the acquisition of one slice.
            samples: as `operator.forward` returns them, scaled so that the images are about 1 where they are bright.
            consistent: hold every block to the samples; for ablations.
            on_block: told after every block.
            periodic: take time as one closed cycle, see `XtYtUnet`.

        Returns:
            (T, J, I) complex64.
        """
        average = operator.time_average(samples).expand(len(samples), -1, -1)
        solved = partial(
            conjugate_gradient, operator, samples, iterations=self.steps, adjoint=operator.adjoint(samples)
        )
        images = solved(average, START_STRENGTH)
        for number, network in enumerate(self.networks):
            images = as_complex(network(as_channels(images), periodic))
            if consistent:
                images = solved(images, self.log_strengths[number].exp())
            on_block(number + 1, len(self.networks))
        return images
