"""DDoS-UNet at half the paper's width: the largest that a CPU still runs in a second or two per volume."""

import torch

from STEnhanceLib.training.exercises.dynamic_volumes import DynamicVolumes
from STEnhanceLib.training.recipe import Card, Recipe
from STEnhanceLib.training.stock import Stock

PERCEPTION = "perceptual-3d"


def _exercise(stock: Stock, device: torch.device) -> DynamicVolumes:
    from STEnhanceLib import models

    return DynamicVolumes(stock, device, models.load(PERCEPTION, str(device)))


RECIPE = Recipe(
    name="ddos-unet",
    title="DDoS-UNet (32 features)",
    network="ddos-unet",
    configuration={"features": 32},
    exercise=_exercise,
    steps=2_500,
    learning_rate=1.5e-3,
    card=Card(
        task="super-resolution",
        intended_use="Research: dynamic volumes scanned with 4 to 25 % of k-space after one static volume of full "
        "resolution.",
        network_data_format={
            "inputs": "(B, 2, K, J, I) float32: the sharp earlier volume, and the current one interpolated linearly",
            "outputs": "(B, 1, K, J, I) float32",
            "intensity": "divided by the 99.9th percentile of the magnitude of the input sequence",
            "grid": "low sample n lies at index n · factor in-plane; slices stay as they are",
        },
        limits=(
            "Half the width of the paper's network, and an output that is added to the interpolated volume.",
            "Trained on two patients' cines, on the same stacks in random motion, and on phantoms.",
            "Each result is the prior of the next: errors can build up over the sequence.",
            "Nothing holds the result to the measured k-space, unless data consistency is switched on.",
            "Whatever the planning scan shows and the current scan does not resolve is taken over, right or wrong.",
        ),
        citation="Chatterjee et al.: DDoS-UNet, IEEE Access 2024 (arXiv 2202.05355). Implemented and trained anew.",
    ),
)
