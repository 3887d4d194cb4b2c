"""Stage 2 of TSSC-Net, practised on what the finished stage 1 makes."""

from functools import partial

import torch

from STEnhanceLib.training import large_motion
from STEnhanceLib.training.exercises.volumes_between import SLICES, VolumesBetween
from STEnhanceLib.training.recipe import Card, Recipe
from STEnhanceLib.training.stock import Stock

STAGE1 = "tssc-stage1"


def _exercise(stock: Stock, device: torch.device) -> VolumesBetween:
    from STEnhanceLib import models

    return VolumesBetween(stock, device, models.load(STAGE1, str(device)), count=1, side=64)


RECIPE = Recipe(
    name="tssc-stage2",
    title="TSSC-Net, stage 2: tri-directional Mamba",
    network="tri-mamba",
    configuration={"features": 8, "blocks": 2, "states": 4, "inputs": 3},
    exercise=_exercise,
    choose=partial(large_motion.added, knees=8, breaths=3, slices=SLICES),
    steps=700,
    learning_rate=2e-3,
    card=Card(
        task="temporal interpolation",
        intended_use="Research: volumes that stage 1 made slice by slice.",
        network_data_format={
            "inputs": "(B, 3, K, J, I) float32: the volume, and the measured ones before and after it",
            "outputs": "(B, 1, K, J, I) float32",
            "intensity": "divided by the 99.9th percentile of both measured volumes",
            "grid": "any; slices keep their number",
        },
        limits=(
            "It corrects generated volumes towards what is plausible; nothing in them was measured.",
            "It helps samples of several steps of the diffusion; those of one step, which are smooth, it makes worse.",
            "It also sees both measured volumes, and the total variation in its loss is that of the error: the paper's "
            "network does neither.",
            "Trained on two patients' short-axis cines, on the same stacks in random motion, and on phantoms of heart, "
            "knee and breathing.",
        ),
        citation="Zhou et al.: TSSC-Net, MICCAI 2025 (arXiv 2506.04116). Implemented and trained anew.",
    ),
)
