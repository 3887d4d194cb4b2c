"""DDoS-UNet at half the paper's width: the largest that a CPU still runs in a second or two per volume."""

import torch

from STEnhanceLib.training.exercises.dynamic_volumes import DynamicVolumes
from STEnhanceLib.training.recipe import Recipe
from STEnhanceLib.training.stock import Stock

PERCEPTION = "perceptual-3d"


def _exercise(stock: Stock, device: torch.device) -> DynamicVolumes:
    from STEnhanceLib import models

    return DynamicVolumes(stock, device, models.load(PERCEPTION, str(device)))


RECIPE = Recipe(
    name="ddos-unet",
    title="DDoS-UNet (width 32)",
    network="ddos-unet",
    configuration={"features": 32},
    exercise=_exercise,
    steps=6_000,
    learning_rate=5e-4,
)
